"""Rows of ``images`` and ``manifests`` of one namespace, from its lists and the documents that were read.

Bytes are not computed here: that is done once, for all nodes (:mod:`imgframe.collector.sizes`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from imgframe.collector.documents import Child, ConfigDoc, IndexDoc, ManifestDoc, Summary, kind_of
from imgframe.collector.library import Library
from imgframe.collector.listing import Lists
from imgframe.collector.resolution import resolve
from imgframe.collector.rows import Rows
from imgframe.platforms import Matcher

_PINNED = '"io.cri-containerd.pinned":"pinned"'


@dataclass(slots=True)
class Scope:
    """One namespace of one node while its rows are made."""

    node: str
    namespace: str
    lists: Lists
    library: Library
    matcher: Matcher
    snapshotter: str | None
    reached: set[tuple[str, str]]
    present: set[str] | None = None
    committed: set[str] | None = None
    entries: dict[str, list[str | None]] = field(default_factory=dict)
    used_digests: set[str] = field(default_factory=set)
    used_chains: set[str] | None = None

    def get(self, kind: str, digest: str) -> Summary | None:
        """The summary of a document that this namespace has."""
        return self.library.get(kind, digest) if (kind, digest) in self.reached else None

    def config(self, digest: str) -> ConfigDoc | None:
        """The config, if it can be read."""
        config = self.get("config", digest)
        return config if isinstance(config, ConfigDoc) and not config.refused else None

    def is_present(self, digest: str) -> bool | None:
        """Whether the blob is in the namespace; None: not known."""
        return None if self.present is None else digest in self.present


def scope_of(
    node: str,
    namespace: str,
    lists: Lists,
    library: Library,
    matcher: Matcher,
    snapshotter: str | None,
    reached: set[tuple[str, str]],
) -> Scope:
    """The scope, with what its containers use worked out."""
    scope = Scope(node, namespace, lists, library, matcher, snapshotter, reached)
    scope.present = None if lists.blobs is None else {blob.digest for blob in lists.blobs}
    snapshots = lists.snapshots.get(snapshotter or "")
    scope.committed = None if snapshots is None else {s.key for s in snapshots if s.kind == "committed"}
    targets = {image.name: image.target.digest for image in lists.images or []}
    scope.used_digests = {targets[c.image] for c in lists.containers or [] if c.image in targets}
    scope.used_chains = _used_chains(lists)
    return scope


def _used_chains(lists: Lists) -> set[str] | None:
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


@dataclass(slots=True, frozen=True)
class _Shown:
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


def add_images(rows: Rows, scope: Scope) -> None:
    """Rows of ``images`` and ``manifests``."""
    images = scope.lists.images or []
    shown: dict[tuple[str, str], _Shown] = {}
    per_row = []
    for image in images:
        key = (kind_of(image.target.media_type), image.target.digest)
        if key not in shown:
            chains = _add_manifests(rows, scope, image.target.media_type, image.target.digest, image.target)
            shown[key] = _show(scope, *key, chains)
        per_row.append(shown[key])
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


def _show(scope: Scope, kind: str, digest: str, chains: list[str | None]) -> _Shown:
    """What the node's platform resolves to, and whether a container uses it."""
    used = _used(scope, digest, chains)

    def absent(asked: str) -> bool:
        return scope.is_present(asked) is False

    found = resolve(kind, digest, scope.matcher, scope.get, absent)
    if found.manifest is None:
        return _Shown(complete=False if found.absent else None, used=used)
    manifest = found.manifest
    config = scope.config(manifest.config.digest)
    chain = config.chain_id if config else None
    return _Shown(
        platform=config.platform_text if config else None,
        manifest_digest=found.digest,
        config_digest=manifest.config.digest if config else None,
        built_at=config.created if config else None,
        labels=config.labels if config else None,
        layer_count=len(manifest.layers),
        chain_id=chain,
        complete=None
        if scope.present is None
        else manifest.config.digest in scope.present and scope.present.issuperset(manifest.layers),
        unpacked=None if chain is None or scope.committed is None else chain in scope.committed,
        used=used,
    )


def _used(scope: Scope, digest: str, chains: list[str | None]) -> bool | None:
    """Whether a container uses the target under any name, or the snapshots of one of its platforms."""
    if digest in scope.used_digests:
        return True
    if scope.used_chains is None:
        return None
    if any(chain in scope.used_chains for chain in chains if chain):
        return True
    return None if None in chains and scope.lists.containers else False


def _add_manifests(rows: Rows, scope: Scope, media_type: str, digest: str, target: Any) -> list[str | None]:
    """Rows of ``manifests`` below one target, and the chain IDs of its readable platforms; None: one cannot be read."""
    kind = kind_of(media_type)
    if kind == "manifest":
        itself = Child(digest=digest, media_type=media_type, size=target.size, annotations=target.annotations)
        return _add_entries(rows, scope, None, [itself])
    chains: list[str | None] = []
    indexes = [digest] if kind == "index" else []
    for index in indexes:
        summary = scope.get("index", index)
        if not isinstance(summary, IndexDoc) or summary.refused:
            chains.append(None)
            continue
        if index not in scope.entries:
            scope.entries[index] = _add_entries(rows, scope, index, summary.children)
        chains += scope.entries[index]
        indexes += [c.digest for c in summary.children if c.kind == "index" and _is_new(c, scope, indexes)]
    return chains


def _is_new(child: Child, scope: Scope, indexes: list[str]) -> bool:
    """Whether a nested index is to be followed: there, and not on the way already."""
    return scope.is_present(child.digest) is not False and child.digest not in indexes


def _add_entries(rows: Rows, scope: Scope, parent: str | None, children: list[Child]) -> list[str | None]:
    """Rows of the entries of one index, or of a manifest that is a target itself.

    Gives the chain IDs that are known, and None where a manifest is there whose chain is not.
    """
    documents = [scope.get(c.kind, c.digest) if c.kind else None for c in children]
    manifests = [d if isinstance(d, ManifestDoc) and not d.refused else None for d in documents]
    configs = [scope.config(m.config.digest) if m else None for m in manifests]
    rows.add(
        "manifests",
        len(children),
        node=scope.node,
        namespace=scope.namespace,
        digest=[c.digest for c in children],
        parent_digest=parent,
        position=list(range(len(children))) if parent else [None] * len(children),
        media_type=[c.media_type for c in children],
        size=[c.size for c in children],
        platform=[
            c.platform_text or (config.platform_text if config else None)
            for c, config in zip(children, configs, strict=True)
        ],
        is_attestation=[c.is_attestation for c in children],
        present=[_is_readable(scope, c, d) for c, d in zip(children, documents, strict=True)],
        config_digest=[m.config.digest or None if m else None for m in manifests],
        content_size=[c.size + m.below_size if m else None for c, m in zip(children, manifests, strict=True)],
        chain_id=[config.chain_id if config else None for config in configs],
        annotations=[c.annotations for c in children],
    )
    return [
        config.chain_id if config else None
        for child, config in zip(children, configs, strict=True)
        if config or (child.kind == "manifest" and scope.is_present(child.digest) is not False)
    ]


def _is_readable(scope: Scope, child: Child, document: Summary | None) -> bool | None:
    present = scope.is_present(child.digest)
    return present and (not child.kind or (document is not None and not document.refused))
