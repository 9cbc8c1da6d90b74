"""Garbage collection of a simulated store, by containerd's rules; it shares no code with :mod:`imgframe.reclaiming`.

The nodes of the graph are ``(namespace, kind, key)``. What is not reachable from a root is removed from its namespace; the bytes
of a blob are removed once no namespace lists it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from imgframe.simulator.store import EXPIRE, Labels, Store, StoredNamespace

CONTENT, SNAPSHOT, IMAGE, INGEST, LEASE = "content", "snapshot", "image", "ingest", "lease"
GraphNode = tuple[str, str, str]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_ROOT = "containerd.io/gc.root"
_FLAT = "containerd.io/gc.flat"
_CONTENT_REF = "containerd.io/gc.ref.content"
_SNAPSHOT_REF = "containerd.io/gc.ref.snapshot."
_IMAGE_REF = "containerd.io/gc.ref.image"


def collect_garbage(store: Store) -> list[GraphNode]:
    """Removes and returns what is unreachable, as (namespace, kind, key); a snapshot's key is ``snapshotter/key``.

    Example:
        >>> from imgframe.simulator.garbage_collector import collect_garbage
        >>> from imgframe.simulator.store import Store
        >>> store = Store({"blobs": [{"digest": "sha256:ab", "text": "{}"}]})
        >>> collect_garbage(store), store.bytes_of
        ([('default', 'content', 'sha256:ab')], {})
    """
    kept = _reached(store)
    removed = [node for node in _everything(store) if node not in kept]
    for name, kind, key in removed:
        space = store.namespaces[name]
        if kind == CONTENT:
            del space.content[key]
        elif kind == IMAGE:
            del space.images[key]
        elif kind == LEASE:
            del space.leases[key]
        elif kind == INGEST:
            del space.ingests[key]
        else:
            snapshotter, _, own = key.partition("/")
            del space.snapshots[snapshotter][own]
    listed = {digest for space in store.namespaces.values() for digest in space.content}
    for digest in [digest for digest in store.bytes_of if digest not in listed]:
        del store.bytes_of[digest]
    return removed


def has_image_rules(store: Store) -> bool:
    """Whether images can expire and be resources of leases: since containerd 2.0."""
    return not store.version.startswith("1.")


def expired(labels: Labels, now: int) -> bool:
    """Whether the labels have an expiry in the past; one that cannot be parsed is ignored."""
    text = labels.get(EXPIRE, "")
    if not _RFC3339.fullmatch(text):
        return False
    try:
        return datetime.fromisoformat(text).timestamp() < now / 1e9
    except ValueError:
        return False


def _everything(store: Store) -> Iterator[GraphNode]:
    for name, space in store.namespaces.items():
        yield from ((name, CONTENT, digest) for digest in space.content)
        yield from ((name, INGEST, ref) for ref in space.ingests)
        yield from ((name, LEASE, lease) for lease in space.leases)
        if has_image_rules(store):
            yield from ((name, IMAGE, image) for image in space.images)
        for snapshotter, rows in space.snapshots.items():
            yield from ((name, SNAPSHOT, f"{snapshotter}/{key}") for key in rows)


def _reached(store: Store) -> set[GraphNode]:
    """Every node reachable from a root. References of resources of a flat lease are not followed."""
    followed: set[GraphNode] = set()
    flat: set[GraphNode] = set()
    pending: list[GraphNode] = []
    for name, space in store.namespaces.items():
        pending.extend(_roots(store, name, space))
        for node in _held_flat(store, name, space):
            while node not in flat:
                flat.add(node)
                parent = _parent(space, node[2]) if node[1] == SNAPSHOT else None
                node = (name, SNAPSHOT, parent) if parent else node
    while pending:
        node = pending.pop()
        if node not in followed:
            followed.add(node)
            pending.extend(_references(store, node))
    return followed | flat


def _roots(store: Store, name: str, space: StoredNamespace) -> Iterator[GraphNode]:
    now = store.clock()
    for lease in space.leases.values():
        if not expired(lease.labels, now):
            yield (name, LEASE, lease.id)
            if _FLAT not in lease.labels:
                yield from _resources(name, lease.resources)
    for image in space.images.values():
        if not (has_image_rules(store) and expired(image.labels, now)):
            yield (name, IMAGE, image.name)
    for ingest in space.ingests.values():
        if ingest.expires_at is not None and ingest.expires_at >= now:
            yield (name, INGEST, ingest.ref)
    for blob in space.content.values():
        if _ROOT in blob.labels:
            yield (name, CONTENT, blob.digest)
    for container in space.containers.values():
        if container.snapshotter and container.snapshot_key:
            yield (name, SNAPSHOT, f"{container.snapshotter}/{container.snapshot_key}")
        yield from _labelled(name, container.labels)
    for snapshotter, rows in space.snapshots.items():
        for snapshot in rows.values():
            if _ROOT in snapshot.labels:
                yield (name, SNAPSHOT, f"{snapshotter}/{snapshot.key}")


def _held_flat(store: Store, name: str, space: StoredNamespace) -> Iterator[GraphNode]:
    for lease in space.leases.values():
        if _FLAT in lease.labels and not expired(lease.labels, store.clock()):
            yield from _resources(name, lease.resources)


def _resources(name: str, resources: dict[tuple[str, str], None]) -> Iterator[GraphNode]:
    for kind, key in resources:
        if kind == "content":
            yield (name, CONTENT, key)
        elif kind == "ingests":
            yield (name, INGEST, key)
        elif kind == "images":
            yield (name, IMAGE, key)
        else:
            yield (name, SNAPSHOT, f"{kind.partition('/')[2]}/{key}")


def _references(store: Store, node: GraphNode) -> Iterator[GraphNode]:
    name, kind, key = node
    space = store.namespaces[name]
    if kind == CONTENT and key in space.content:
        yield from _labelled(name, space.content[key].labels)
    elif kind == IMAGE and key in space.images:
        yield (name, CONTENT, space.images[key].digest)
        yield from _labelled(name, space.images[key].labels)
    elif kind == INGEST and key in space.ingests and space.ingests[key].expected:
        yield (name, CONTENT, space.ingests[key].expected)
    elif kind == SNAPSHOT:
        snapshotter, _, own = key.partition("/")
        snapshot = space.snapshots.get(snapshotter, {}).get(own)
        if snapshot is not None:
            if snapshot.parent:
                yield (name, SNAPSHOT, f"{snapshotter}/{snapshot.parent}")
            yield from _labelled(name, snapshot.labels)


def _parent(space: StoredNamespace, key: str) -> str | None:
    """The key of the parent of ``snapshotter/key``, if any."""
    snapshotter, _, own = key.partition("/")
    snapshot = space.snapshots.get(snapshotter, {}).get(own)
    return f"{snapshotter}/{snapshot.parent}" if snapshot is not None and snapshot.parent else None


def _labelled(name: str, labels: Labels) -> Iterator[GraphNode]:
    """References in labels: a prefix must be the whole key or be followed by a dot or a slash."""
    for key, value in labels.items():
        if key.startswith(_CONTENT_REF):
            if key[len(_CONTENT_REF) : len(_CONTENT_REF) + 1] in {"", ".", "/"}:
                yield (name, CONTENT, value)
        elif key.startswith(_SNAPSHOT_REF):
            snapshotter = key[len(_SNAPSHOT_REF) :].partition("/")[0]
            yield (name, SNAPSHOT, f"{snapshotter}/{value}")
        elif key.startswith(_IMAGE_REF) and key[len(_IMAGE_REF) : len(_IMAGE_REF) + 1] in {"", ".", "/"}:
            yield (name, IMAGE, value)
