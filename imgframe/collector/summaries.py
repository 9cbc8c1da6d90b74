"""Summaries of indexes, manifests and configs, and their rows in the tables.

A summary has what decisions need (platforms, children, layers, chain IDs), rows have what is shown. Both depend on the bytes
alone.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from imgframe import oci
from imgframe.collector.table_builder import TableBuilder
from imgframe.digests import matches
from imgframe.errors import DocumentError
from imgframe.golang import time as gotime
from imgframe.oci.documents import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from imgframe.platforms import Platform, format_all, normalize
from imgframe.wire.records import labels_text

_ATTESTATION = "attestation-manifest"
_REFERENCE_TYPE = "vnd.docker.reference.type"
_INT64 = 1 << 63
_encode = msgspec.json.Encoder().encode
# columns of the tables configs and history by where they are in a config
_PLAIN = ("author", "os", "architecture", "variant", "healthcheck")
_PLAIN_RUN = ("user", "working_dir", "stop_signal")
_LISTS = ("env", "entrypoint", "cmd", "exposed_ports", "volumes")
_STEP = ("created_by", "author", "comment", "empty_layer")


class IndexEntry(msgspec.Struct, frozen=True, gc=False, array_like=True, omit_defaults=True):
    """An entry of an index; ``kind`` is index, manifest, or empty for anything else."""

    digest: str
    media_type: str
    size: int
    kind: str
    annotations: str = "{}"
    platform: Platform | None = None
    platform_text: str | None = None
    is_attestation: bool = False


class ConfigDescriptor(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The descriptor of a manifest's config."""

    digest: str
    media_type: str
    size: int


class IndexSummary(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="i"):
    """An index. ``refused`` says why it cannot be used; ``inline`` has documents embedded in its descriptors.

    ``unchecked`` are kind and digest of the entries of an index that fails containerd's checks: nerdctl's listing and
    ReadIndex do not check, and treat an entry of any other type as a manifest.
    """

    children: list[IndexEntry] = []
    refused: str = ""
    inline: dict[str, bytes] = {}
    unchecked: list[tuple[str, str]] = []

    def children_keys(self) -> list[tuple[str, str]]:
        """Kind and digest of the child documents."""
        return [(c.kind or "manifest", c.digest) for c in self.children] or self.unchecked


class ManifestSummary(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="m"):
    """A manifest: its config, and digests, types and sizes of its layers in order. ``unchecked`` as in an index."""

    config: ConfigDescriptor = ConfigDescriptor("", "", 0)
    layers: list[str] = []
    media_types: list[str] = []
    sizes: list[int] = []
    refused: str = ""
    inline: dict[str, bytes] = {}
    unchecked: list[tuple[str, str]] = []

    def children_keys(self) -> list[tuple[str, str]]:
        """Kind and digest of the child documents."""
        return [("config", self.config.digest)] if self.config.digest else self.unchecked

    @property
    def parts_size(self) -> int:
        """Declared size of config and layers [bytes]."""
        return self.config.size + sum(self.sizes)


class ConfigSummary(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="c"):
    """A config: platform, build time, labels as in ReadImageConfig, and the diff IDs of the layers."""

    platform: Platform | None = None
    platform_text: str | None = None
    created: int | None = None
    labels: str = "{}"
    diff_ids: list[str] = []
    chain_id: str = ""
    refused: str = ""
    inline: dict[str, bytes] = {}

    def children_keys(self) -> list[tuple[str, str]]:
        """A config has no children."""
        return []


Summary = IndexSummary | ManifestSummary | ConfigSummary


def lean(summary: Summary) -> Summary:
    """The summary without fields that only rows need, which are half of its strings."""
    if isinstance(summary, ManifestSummary):
        return replace(summary, media_types=[])
    return replace(summary, diff_ids=[]) if isinstance(summary, ConfigSummary) else summary


class DocumentProblem(NamedTuple):
    """Why a document cannot be used."""

    code: str
    message: str


def kind_of(media_type: str) -> str:
    """The kind of a document of this media type: index, manifest, or empty for any other."""
    return _KINDS.get(media_type, "")


_KINDS = dict.fromkeys((OCI_INDEX, DOCKER_INDEX), "index")
_KINDS |= dict.fromkeys((OCI_MANIFEST, DOCKER_MANIFEST), "manifest")


def summarise(kind: str, digest: str, data: bytes, rows: TableBuilder) -> Summary:
    """The summary of a document; adds the rows of ``configs`` and ``history`` of a config."""
    where = f"{kind} {digest}"
    try:
        if kind == "index":
            return _index(data, where)
        return _manifest(data, where) if kind == "manifest" else _config(digest, data, rows)
    except DocumentError as error:
        refused = str(error) if str(error).startswith(where) else f"{where}: {error}"
        if kind == "index":
            return IndexSummary(refused=refused, unchecked=_unchecked(data, kind))
        if kind == "manifest":
            return ManifestSummary(refused=refused, unchecked=_unchecked(data, kind))
        return ConfigSummary(refused=refused, platform=_platform_alone(data))


def _unchecked(data: bytes, kind: str) -> list[tuple[str, str]]:
    """Kind and digest of the children of an index or a manifest without any checks."""
    try:
        if kind == "manifest":
            config = oci.decode_manifest(data).config.digest
            return [("config", config)] if config else []
        return [
            (_KINDS.get(d.media_type, "manifest"), d.digest)
            for d in oci.decode_index(data).manifests
            if d.digest
        ]
    except DocumentError:
        return []


def _platform_alone(data: bytes) -> Platform | None:
    """The platform of a config with other malformed fields: containerd reads no more to compare platforms."""
    try:
        return oci.decode_platform(data)
    except DocumentError:
        return None


def _index(data: bytes, where: str) -> IndexSummary:
    index = oci.checked_index(data, OCI_INDEX, where)
    return IndexSummary([_child(d) for d in index.manifests], inline=_inline(index.manifests))


def _child(found: oci.Descriptor) -> IndexEntry:
    annotations = found.annotations or {}
    return IndexEntry(
        found.digest,
        found.media_type,
        found.size,
        kind_of(found.media_type),
        labels_text(annotations),
        found.platform,
        format_all(normalize(found.platform)) if found.platform else None,
        annotations.get(_REFERENCE_TYPE) == _ATTESTATION,
    )


def _inline(descriptors: tuple[oci.Descriptor, ...]) -> dict[str, bytes]:
    return {
        d.digest: d.data
        for d in descriptors
        if d.data and len(d.data) == d.size and matches(d.data, d.digest)
    }


def _manifest(data: bytes, where: str) -> ManifestSummary:
    manifest = oci.checked_manifest(data, OCI_MANIFEST, where)
    config, layers = manifest.config, manifest.layers
    return ManifestSummary(
        ConfigDescriptor(config.digest, config.media_type, config.size),
        [d.digest for d in layers],
        [d.media_type for d in layers],
        [d.size for d in layers],
        inline=_inline((config,)),
    )


def _config(digest: str, data: bytes, rows: TableBuilder) -> ConfigSummary:
    image = oci.decode_config(data)
    run, labels = image.config, labels_text(image.config.labels)
    created = moment(image.created)
    diff_ids = list(image.rootfs.diff_ids)
    columns = {name: getattr(image, name) for name in _PLAIN}
    columns |= {name: getattr(run, name) for name in _PLAIN_RUN}
    columns |= {name: _encode(getattr(run, name)).decode() for name in _LISTS}
    rows.add("configs", 1, digest=digest, created=created, labels=labels, **columns)
    history = image.history
    rows.add(
        "history",
        len(history),
        digest=digest,
        position=list(range(len(history))),
        created=[moment(step.created) for step in history],
        **{name: [getattr(step, name) for step in history] for name in _STEP},
    )
    chain = oci.chain_ids(diff_ids)
    platform = image.platform
    return ConfigSummary(
        platform, format_all(normalize(platform)), created, labels, diff_ids, chain[-1] if chain else ""
    )


def moment(text: str | None) -> int | None:
    """RFC 3339 text in nanoseconds since 1970; None if beyond 64 bits, such as Go's zero time in year 1."""
    if text is None:
        return None
    value = gotime.unmarshal(text)[0]
    return value if -_INT64 < value < _INT64 else None


def layer_rows(
    rows: TableBuilder, digest: str, manifest: ManifestSummary, config: ConfigSummary | None
) -> None:
    """Adds the rows of ``layers`` of a manifest; without its config they have no diff IDs."""
    count = len(manifest.layers)
    diff_ids: list[str | None] = list(config.diff_ids[:count]) if config else []
    chains: list[str | None] = list(oci.chain_ids(config.diff_ids[:count])) if config else []
    missing = [None] * (count - len(diff_ids))
    rows.add(
        "layers",
        count,
        manifest_digest=digest,
        position=list(range(count)),
        digest=manifest.layers,
        media_type=manifest.media_types,
        size=manifest.sizes,
        diff_id=diff_ids + missing,
        chain_id=chains + missing,
    )
