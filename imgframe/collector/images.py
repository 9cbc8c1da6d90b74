"""Rows of ``images`` and ``manifests`` of a namespace, from its lists and documents.

Sizes are computed later, once for all nodes (:mod:`imgframe.collector.computed_columns`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import msgspec

from imgframe.collector.namespace_lists import NamespaceLists, add_records
from imgframe.collector.resolution import resolve
from imgframe.collector.summaries import (
    ConfigSummary,
    IndexEntry,
    IndexSummary,
    ManifestSummary,
    Summary,
    kind_of,
)
from imgframe.collector.table_builder import TableBuilder
from imgframe.platforms import Matcher

Entries = list[
    tuple[IndexEntry, str | None, int | None, bool | None, ManifestSummary | None, ConfigSummary | None]
]
"""Future rows of ``manifests``: entry, digest of its index, position in it, whether it is present, manifest and config."""

_PINNED = '"io.cri-containerd.pinned":"pinned"'


@dataclass(slots=True)
class NamespaceContext:
    """A namespace whose rows are made."""

    node: str
    namespace: str
    lists: NamespaceLists
    documents: Mapping[tuple[str, str], Summary]
    matcher: Matcher
    snapshotter: str | None
    present: dict[str, int] | None = field(init=False)
    committed: set[str] | None = field(init=False)
    used_digests: set[str] = field(init=False)
    used_chains: set[str] | None = field(init=False)
    chains: dict[str, list[str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lists = self.lists
        self.present = lists.sizes
        snapshots = lists.snapshots.get(self.snapshotter or "")
        self.committed = None if snapshots is None else {s.key for s in snapshots if s.kind == "committed"}
        targets = {image.name: image.target.digest for image in lists.images or []}
        self.used_digests = {targets[c.image] for c in lists.containers or [] if c.image in targets}
        self.used_chains = _used_chains(lists)

    def get(self, kind: str, digest: str) -> Summary | None:
        """The summary of a document of this namespace."""
        return self.documents.get((kind, digest))

    def config(self, digest: str) -> ConfigSummary | None:
        """The config, if it is readable."""
        config = self.get("config", digest)
        return config if isinstance(config, ConfigSummary) and not config.refused else None

    def is_present(self, digest: str) -> bool | None:
        """Whether the blob is in the namespace; None: unknown."""
        return None if self.present is None else digest in self.present

    def present_size(self, digest: str, manifest: ManifestSummary) -> int | None:
        """Bytes of a manifest, its config and layers in the namespace, each blob once."""
        if self.present is None:
            return None
        parts = {digest, manifest.config.digest, *manifest.layers}
        return sum(filter(None, map(self.present.get, parts)))


def _used_chains(lists: NamespaceLists) -> set[str] | None:
    """Keys of all snapshots that containers use; None if containers or their snapshots could not be read."""
    if lists.containers is None:
        return None
    used: set[str] = set()
    parents: dict[str, dict[str, str]] = {}
    for container in lists.containers:
        name, key = container.snapshotter, container.snapshot_key
        if not key:
            continue
        snapshots = lists.snapshots.get(name)
        if snapshots is None:
            return None
        if name not in parents:
            parents[name] = {snapshot.key: snapshot.parent for snapshot in snapshots}
        seen: set[str] = set()
        while key and key not in seen:
            seen.add(key)
            key = parents[name].get(key, "")
        used |= seen
    return used


class _TargetColumns(msgspec.Struct, frozen=True, gc=False):
    """The columns of ``images`` that depend on the target alone."""

    platform: str | None = None
    manifest_digest: str | None = None
    config_digest: str | None = None
    built_at: int | None = None
    labels: str | None = None
    layer_count: int | None = None
    chain_id: str | None = None
    complete: bool | None = None
    unpacked: bool | None = None
    used_by_digest: bool | None = None


def add_images(rows: TableBuilder, context: NamespaceContext) -> None:
    """Rows of ``images`` and ``manifests``."""
    images = context.lists.images or []
    by_target: dict[tuple[str, str], _TargetColumns] = {}
    entries: Entries = []
    per_row = []
    for image in images:
        key = (kind_of(image.target.media_type), image.target.digest)
        if key not in by_target:
            chains = _add_target(entries, context, image.target.media_type, image.target.digest, image.target)
            by_target[key] = _columns_of(context, *key, chains)
        per_row.append(by_target[key])
    _add_manifests(rows, context, entries)
    containers = Counter(container.image for container in context.lists.containers or [])
    add_records(
        rows,
        "images",
        context.node,
        context.namespace,
        images,
        ("name", "created_at", "updated_at"),
        digest=[i.target.digest for i in images],
        media_type=[i.target.media_type for i in images],
        target_size=[i.target.size for i in images],
        record_labels=[i.labels for i in images],
        pinned=[_PINNED in i.labels for i in images],
        snapshotter=context.snapshotter,
        containers=None if context.lists.containers is None else [containers[i.name] for i in images],
        **{name: list(map(attrgetter(name), per_row)) for name in _TargetColumns.__struct_fields__},
    )


def _columns_of(
    context: NamespaceContext, kind: str, digest: str, chains: list[str | None]
) -> _TargetColumns:
    """The manifest for the node's platform, and whether a container uses the target."""
    used = _used(context, digest, chains)

    def absent(asked: str) -> bool:
        return context.is_present(asked) is False

    found = resolve(kind, digest, context.matcher, context.get, absent)
    if found.manifest is None:
        return _TargetColumns(complete=False if found.absent else None, used_by_digest=used)
    manifest = found.manifest
    config = context.config(manifest.config.digest)
    chain = config.chain_id if config else None
    return _TargetColumns(
        platform=config.platform_text if config else None,
        manifest_digest=found.digest,
        config_digest=manifest.config.digest if config else None,
        built_at=config.created if config else None,
        labels=config.labels if config else None,
        layer_count=len(manifest.layers),
        chain_id=chain,
        complete=None
        if context.present is None
        else context.present.keys() >= {found.digest, manifest.config.digest, *manifest.layers},
        unpacked=None if chain is None or context.committed is None else chain in context.committed,
        used_by_digest=used,
    )


def _used(context: NamespaceContext, digest: str, chains: list[str | None]) -> bool | None:
    """Whether a container uses the target under any name, or the snapshots of any of its platforms."""
    if digest in context.used_digests:
        return True
    if context.used_chains is None:
        return None
    if any(chain in context.used_chains for chain in chains if chain):
        return True
    return None if None in chains and context.lists.containers else False


def _add_target(
    entries: Entries, context: NamespaceContext, media_type: str, digest: str, target: Any
) -> list[str | None]:
    """Adds the manifests of a target; returns the chain IDs of its platforms, with None for each that is unreadable."""
    kind = kind_of(media_type)
    if kind == "manifest":
        itself = IndexEntry(digest, media_type, target.size, kind, target.annotations)
        return _add_entries(entries, context, None, [itself])
    chains: list[str | None] = []
    indexes = [digest] if kind == "index" else []
    for index in indexes:
        summary = context.get("index", index)
        if not isinstance(summary, IndexSummary) or summary.refused:
            chains.append(None)
            continue
        known = context.chains.get(index)
        if known is None:
            known = context.chains[index] = _add_entries(entries, context, index, summary.children)
        chains += known
        indexes += [c.digest for c in summary.children if c.kind == "index" and _is_new(c, context, indexes)]
    return chains


def _is_new(child: IndexEntry, context: NamespaceContext, indexes: list[str]) -> bool:
    """Whether a nested index is to be followed: it may be present, and was not seen before."""
    return context.is_present(child.digest) is not False and child.digest not in indexes


def _add_entries(
    entries: Entries, context: NamespaceContext, parent: str | None, children: list[IndexEntry]
) -> list[str | None]:
    """Adds the entries of an index, or a manifest that is the target itself.

    Returns the chain IDs, with None for each manifest that may be present but whose chain ID is unknown.
    """
    chains: list[str | None] = []
    documents, listed = context.documents, context.present
    for position, child in enumerate(children):
        document = documents.get((child.kind, child.digest)) if child.kind else None
        manifest = document if isinstance(document, ManifestSummary) and not document.refused else None
        config = context.config(manifest.config.digest) if manifest else None
        present = None if listed is None else child.digest in listed
        if config:
            chains.append(config.chain_id)
        elif present is not False and child.kind == "manifest":
            chains.append(None)
        if present and child.kind and (document is None or document.refused):
            present = False
        entries.append((child, parent, position if parent else None, present, manifest, config))
    return chains


def _add_manifests(rows: TableBuilder, context: NamespaceContext, entries: Entries) -> None:
    children, parents, positions, presents, manifests, configs = (
        zip(*entries, strict=True) if entries else [()] * 6
    )
    rows.add(
        "manifests",
        len(entries),
        node=context.node,
        namespace=context.namespace,
        digest=[c.digest for c in children],
        parent_digest=list(parents),
        position=list(positions),
        media_type=[c.media_type for c in children],
        size=[c.size for c in children],
        platform=[
            c.platform_text or (config.platform_text if config else None)
            for c, config in zip(children, configs, strict=True)
        ],
        is_attestation=[c.is_attestation for c in children],
        present=list(presents),
        config_digest=[m.config.digest or None if m else None for m in manifests],
        content_size=[c.size + m.parts_size if m else None for c, m in zip(children, manifests, strict=True)],
        present_size=[
            context.present_size(c.digest, m) if m and there else None
            for c, m, there in zip(children, manifests, presents, strict=True)
        ],
        chain_id=[config.chain_id if config else None for config in configs],
        annotations=[c.annotations for c in children],
    )
