"""Rows of ``images`` and ``manifests`` of one namespace, from its lists and the documents that were read.

Bytes are not computed here: that is done once, for all nodes (:mod:`imgframe.collector.computed_columns`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from imgframe.collector.namespace_lists import NamespaceLists
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
"""Rows of ``manifests`` to be: entry, index and place in it, whether it is readable, and what it says."""

_PINNED = '"io.cri-containerd.pinned":"pinned"'


@dataclass(slots=True)
class NamespaceContext:
    """One namespace of one node while its rows are made."""

    node: str
    namespace: str
    lists: NamespaceLists
    documents: Mapping[tuple[str, str], Summary]
    matcher: Matcher
    snapshotter: str | None
    present: dict[str, int] | None = None
    committed: set[str] | None = None
    chains: dict[str, list[str | None]] = field(default_factory=dict)
    used_digests: set[str] = field(default_factory=set)
    used_chains: set[str] | None = None

    def get(self, kind: str, digest: str) -> Summary | None:
        """The summary of a document that this namespace has."""
        return self.documents.get((kind, digest))

    def config(self, digest: str) -> ConfigSummary | None:
        """The config, if it can be read."""
        config = self.get("config", digest)
        return config if isinstance(config, ConfigSummary) and not config.refused else None

    def is_present(self, digest: str) -> bool | None:
        """Whether the blob is in the namespace; None: not known."""
        return None if self.present is None else digest in self.present

    def present_size(self, digest: str, manifest: ManifestSummary) -> int | None:
        """Bytes of a manifest, its config and layers that are in the namespace, each blob once."""
        if self.present is None:
            return None
        parts = {digest, manifest.config.digest, *manifest.layers}
        return sum(filter(None, map(self.present.get, parts)))


def scope_of(
    node: str,
    namespace: str,
    lists: NamespaceLists,
    documents: Mapping[tuple[str, str], Summary],
    matcher: Matcher,
    snapshotter: str | None,
) -> NamespaceContext:
    """The scope, with what its containers use worked out."""
    scope = NamespaceContext(node, namespace, lists, documents, matcher, snapshotter)
    scope.present = lists.sizes
    snapshots = lists.snapshots.get(snapshotter or "")
    scope.committed = None if snapshots is None else {s.key for s in snapshots if s.kind == "committed"}
    targets = {image.name: image.target.digest for image in lists.images or []}
    scope.used_digests = {targets[c.image] for c in lists.containers or [] if c.image in targets}
    scope.used_chains = _used_chains(lists)
    return scope


def _used_chains(lists: NamespaceLists) -> set[str] | None:
    """Keys of all snapshots under a container; None where containers or their snapshots were not read."""
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
    """The columns that depend on the target alone."""

    platform: str | None = None
    manifest_digest: str | None = None
    config_digest: str | None = None
    built_at: int | None = None
    labels: str | None = None
    layer_count: int | None = None
    chain_id: str | None = None
    complete: bool | None = None
    unpacked: bool | None = None
    used: bool | None = None


def add_images(rows: TableBuilder, scope: NamespaceContext) -> None:
    """Rows of ``images`` and ``manifests``."""
    images = scope.lists.images or []
    shown: dict[tuple[str, str], _TargetColumns] = {}
    entries: Entries = []
    per_row = []
    for image in images:
        key = (kind_of(image.target.media_type), image.target.digest)
        if key not in shown:
            chains = _enter_manifests(
                entries, scope, image.target.media_type, image.target.digest, image.target
            )
            shown[key] = _show(scope, *key, chains)
        per_row.append(shown[key])
    _add_manifests(rows, scope, entries)
    containers: dict[str, int] = {}
    for container in scope.lists.containers or []:
        containers[container.image] = containers.get(container.image, 0) + 1
    rows.add(
        "images",
        len(images),
        node=scope.node,
        namespace=scope.namespace,
        name=[i.name for i in images],
        digest=[i.target.digest for i in images],
        media_type=[i.target.media_type for i in images],
        target_size=[i.target.size for i in images],
        created_at=[i.created_at for i in images],
        updated_at=[i.updated_at for i in images],
        record_labels=[i.labels for i in images],
        pinned=[_PINNED in i.labels for i in images],
        platform=[s.platform for s in per_row],
        manifest_digest=[s.manifest_digest for s in per_row],
        config_digest=[s.config_digest for s in per_row],
        built_at=[s.built_at for s in per_row],
        labels=[s.labels for s in per_row],
        layer_count=[s.layer_count for s in per_row],
        chain_id=[s.chain_id for s in per_row],
        complete=[s.complete for s in per_row],
        unpacked=[s.unpacked for s in per_row],
        snapshotter=scope.snapshotter,
        containers=None if scope.lists.containers is None else [containers.get(i.name, 0) for i in images],
        used_by_digest=[s.used for s in per_row],
    )


def _show(scope: NamespaceContext, kind: str, digest: str, chains: list[str | None]) -> _TargetColumns:
    """What the node's platform resolves to, and whether a container uses it."""
    used = _used(scope, digest, chains)

    def absent(asked: str) -> bool:
        return scope.is_present(asked) is False

    found = resolve(kind, digest, scope.matcher, scope.get, absent)
    if found.manifest is None:
        return _TargetColumns(complete=False if found.absent else None, used=used)
    manifest = found.manifest
    config = scope.config(manifest.config.digest)
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
        if scope.present is None
        else scope.present.keys() >= {found.digest, manifest.config.digest, *manifest.layers},
        unpacked=None if chain is None or scope.committed is None else chain in scope.committed,
        used=used,
    )


def _used(scope: NamespaceContext, digest: str, chains: list[str | None]) -> bool | None:
    """Whether a container uses the target under any name, or the snapshots of one of its platforms."""
    if digest in scope.used_digests:
        return True
    if scope.used_chains is None:
        return None
    if any(chain in scope.used_chains for chain in chains if chain):
        return True
    return None if None in chains and scope.lists.containers else False


def _enter_manifests(
    entries: Entries, scope: NamespaceContext, media_type: str, digest: str, target: Any
) -> list[str | None]:
    """Enter what is below one target; gives the chain IDs of its platforms, None where one cannot be read."""
    kind = kind_of(media_type)
    if kind == "manifest":
        itself = IndexEntry(digest, media_type, target.size, kind, target.annotations)
        return _enter(entries, scope, None, [itself])
    chains: list[str | None] = []
    indexes = [digest] if kind == "index" else []
    for index in indexes:
        summary = scope.get("index", index)
        if not isinstance(summary, IndexSummary) or summary.refused:
            chains.append(None)
            continue
        known = scope.chains.get(index)
        if known is None:
            known = scope.chains[index] = _enter(entries, scope, index, summary.children)
        chains += known
        indexes += [c.digest for c in summary.children if c.kind == "index" and _is_new(c, scope, indexes)]
    return chains


def _is_new(child: IndexEntry, scope: NamespaceContext, indexes: list[str]) -> bool:
    """Whether a nested index is to be followed: there, and not on the way already."""
    return scope.is_present(child.digest) is not False and child.digest not in indexes


def _enter(
    entries: Entries, scope: NamespaceContext, parent: str | None, children: list[IndexEntry]
) -> list[str | None]:
    """Enter the children of one index, or a manifest that is a target itself.

    Gives the chain IDs that are known, and None where a manifest is there whose chain is not.
    """
    chains: list[str | None] = []
    documents, listed = scope.documents, scope.present
    for position, child in enumerate(children):
        document = documents.get((child.kind, child.digest)) if child.kind else None
        manifest = document if isinstance(document, ManifestSummary) and not document.refused else None
        config = scope.config(manifest.config.digest) if manifest else None
        present = None if listed is None else child.digest in listed
        if config:
            chains.append(config.chain_id)
        elif present is not False and child.kind == "manifest":
            chains.append(None)
        if present and child.kind and (document is None or document.refused):
            present = False
        entries.append((child, parent, position if parent else None, present, manifest, config))
    return chains


def _add_manifests(rows: TableBuilder, scope: NamespaceContext, entries: Entries) -> None:
    children, parents, positions, presents, manifests, configs = (
        zip(*entries, strict=True) if entries else [()] * 6
    )
    rows.add(
        "manifests",
        len(entries),
        node=scope.node,
        namespace=scope.namespace,
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
        content_size=[c.size + m.below_size if m else None for c, m in zip(children, manifests, strict=True)],
        present_size=[
            scope.present_size(c.digest, m) if m and there else None
            for c, m, there in zip(children, manifests, presents, strict=True)
        ],
        chain_id=[config.chain_id if config else None for config in configs],
        annotations=[c.annotations for c in children],
    )
