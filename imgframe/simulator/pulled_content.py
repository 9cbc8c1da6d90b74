"""The blobs and snapshots of a pulled release, as rows of a dump without times.

Rows are shared by all nodes that have the release; a dump adds the time to a copy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from imgframe.simulator.catalogue import HOST, Release, Variant

Row = dict[str, Any]
SNAPSHOTTER = "overlayfs"
_REF = "containerd.io/gc.ref"
_SOURCE = f"containerd.io/distribution.source.{HOST}"


class PulledObject(NamedTuple):
    """A blob or snapshot: its table, key, size [bytes] and row."""

    table: str
    key: str
    size: int
    row: Row


def pieces(release: Release, platform: str, metadata: bool) -> tuple[PulledObject, ...]:
    """Everything that a pull of ``release`` for ``platform`` writes.

    ``metadata``: with manifests and configs of other platforms, as ``ctr`` of containerd 2 fetches them.
    """
    source = {_SOURCE: release.repository.partition("/")[2]}
    found = []
    if release.index is not None:
        children = {
            f"{_REF}.content.m.{place}": variant.manifest.digest
            for place, variant in enumerate(release.variants)
        }
        found.append(_text(release.index, source | children))
    chosen = release.variant(platform)
    for variant in release.variants:
        if variant is chosen or metadata:
            found += _variant(variant, source, unpacked=variant is chosen)
    for parent, (layer, chain) in zip(
        ("", *chosen.chain), zip(chosen.layers, chosen.chain, strict=True), strict=False
    ):
        row = {
            "key": chain,
            "parent": parent,
            "kind": "committed",
            "labels": {"containerd.io/snapshot.ref": chain},
            "size": layer.disk_size,
            "inodes": layer.inodes,
        }
        found.append(PulledObject("snapshots", chain, layer.disk_size, row))
    return tuple(found)


def _variant(variant: Variant, source: Row, *, unpacked: bool) -> list[PulledObject]:
    layer = "content" if variant.attests else "content.l"
    labels = source | {f"{_REF}.content.config": variant.config.digest}
    labels |= {f"{_REF}.{layer}.{place}": each.digest for place, each in enumerate(variant.layers)}
    kept = source | (
        {f"{_REF}.snapshot.{SNAPSHOTTER}": variant.chain[-1]} if unpacked and variant.chain else {}
    )
    found = [_text(variant.manifest, labels), _text(variant.config, kept)]
    if unpacked:
        for each in variant.layers:
            row = {
                "digest": each.digest,
                "size": each.size,
                "labels": source | {"containerd.io/uncompressed": each.diff_id},
            }
            found.append(PulledObject("blobs", each.digest, each.size, row))
    return found


def _text(document: Any, labels: Row) -> PulledObject:
    row = {"digest": document.digest, "size": document.size, "labels": labels, "text": document.text}
    return PulledObject("blobs", document.digest, document.size, row)
