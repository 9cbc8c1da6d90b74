"""Labels that tie blobs together: what keeps what from the garbage collector, and where a blob came from.

The keys and their numbering are those that containerd's own pull writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from imgframe.oci import Descriptor, is_config_type

LIMIT = 4096
"""Bytes that key and value of a label may have together (containerd's labels.Validate)."""

SOURCE = "containerd.io/distribution.source."
UNCOMPRESSED = "containerd.io/uncompressed"
SNAPSHOT_REF = "containerd.io/snapshot.ref"

_DIFF_ID = "containerd.io/snapshot/diff-id"
_PARENT = "containerd.io/snapshot/parent-chain-id"
_DIFF_ID_SINCE = (2, 3, 0)

_CONTENT = "containerd.io/gc.ref.content."
_SNAPSHOT = "containerd.io/gc.ref.snapshot."
_MANIFESTS = frozenset(
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"]
)
_OCI_LAYER = "application/vnd.oci.image.layer."
_DOCKER_LAYERS = frozenset(
    f"application/vnd.docker.image.rootfs.{kind}diff.tar{packing}"
    for kind in ("", "foreign.")
    for packing in ("", ".gzip", ".zstd")
)


def is_layer_type(media_type: str) -> bool:
    """Whether a blob of this type can be unpacked into a snapshot (images.IsLayerType).

    Example:
        >>> is_layer_type("application/vnd.in-toto+json")
        False
    """
    return media_type.startswith(_OCI_LAYER) or media_type.partition("+")[0] in _DOCKER_LAYERS


def extraction_labels(
    chain_id: str, diff_id: str, parent: str, containerd: tuple[int, int, int]
) -> dict[str, str]:
    """Labels of the snapshot of a layer, as the unpacker of this version of containerd sets them.

    Example:
        >>> extraction_labels("sha256:c", "sha256:d", "", (2, 1, 9))
        {'containerd.io/snapshot.ref': 'sha256:c'}
        >>> extraction_labels("sha256:c", "sha256:d", "sha256:b", (2, 3, 0))["containerd.io/snapshot/parent-chain-id"]
        'sha256:b'
    """
    labels = {SNAPSHOT_REF: chain_id}
    if containerd >= _DIFF_ID_SINCE:
        labels[_DIFF_ID] = diff_id
        if parent:
            labels[_PARENT] = parent
    return labels


def _key(child: Descriptor) -> str:
    if is_config_type(child.media_type):
        return f"{_CONTENT}config"
    if child.media_type in _MANIFESTS:
        return f"{_CONTENT}m."
    return f"{_CONTENT}l." if is_layer_type(child.media_type) else _CONTENT


def children_labels(children: Iterable[Descriptor]) -> dict[str, str]:
    """Labels of an index or manifest that keep what it names, fetched or not.

    Each kind of child is counted by itself from 0; the first config has no number.

    Example:
        >>> children_labels([Descriptor("application/vnd.oci.image.layer.v1.tar", "sha256:" + "0" * 64)])
        {'containerd.io/gc.ref.content.l.0': 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}
    """
    counts: dict[str, int] = {}
    labels = {}
    for child in children:
        key = _key(child)
        number = counts.get(key, 0)
        counts[key] = number + 1
        labels[f"{key}{number}" if key.endswith(".") or number else key] = child.digest
    return labels


def snapshot_label(snapshotter: str, chain_id: str) -> dict[str, str]:
    """The label of a config that keeps its snapshots."""
    return {f"{_SNAPSHOT}{snapshotter}": chain_id}


def source_label(known: Mapping[str, str], domain: str, repository: str) -> dict[str, str]:
    """The label that says where a blob came from, added to what is known; empty where there is nothing to change.

    ``domain``: with or without a port, which is left out.

    Example:
        >>> source_label({"containerd.io/distribution.source.reg.example": "a"}, "reg.example:5000", "b")
        {'containerd.io/distribution.source.reg.example': 'a,b'}
    """
    key = f"{SOURCE}{host_of(domain)}"
    before = [name for name in known.get(key, "").split(",") if name]
    if repository in before:
        return {}
    value = ",".join(sorted([*before, repository]))
    return {} if len(key.encode()) + len(value.encode()) > LIMIT else {key: value}


def host_of(domain: str) -> str:
    """A domain without its port; brackets of an IPv6 address are left out."""
    if domain.startswith("["):
        return domain[1:].partition("]")[0]
    return domain.partition(":")[0]


def sources_of(labels: Mapping[str, str], domain: str) -> Sequence[str]:
    """Repositories of a registry that are known to have a blob."""
    return [name for name in labels.get(f"{SOURCE}{host_of(domain)}", "").split(",") if name]
