"""Garbage collection of a simulated store, by containerd's rules; it shares no code with :mod:`imgframe.reclaiming`.

The nodes of the graph are ``(namespace, kind, key)``. What is not reachable from a root is removed from its namespace; the bytes
of a blob are removed once no namespace lists it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from imgframe.errors import InputError
from imgframe.golang import time as gotime
from imgframe.simulator.store import EXPIRE, Labels, Store, StoredNamespace

CONTENT, SNAPSHOT, IMAGE, INGEST, LEASE = "content", "snapshot", "image", "ingest", "lease"
CONTAINER = "container"
GraphNode = tuple[str, str, str]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_ROOT = "containerd.io/gc.root"
_FLAT = "containerd.io/gc.flat"
_REFERENCES = {"containerd.io/gc.ref.content": CONTENT, "containerd.io/gc.ref.image": IMAGE}
_SNAPSHOT_REF = "containerd.io/gc.ref.snapshot."
_BACK = {
    "containerd.io/gc.bref.container": CONTAINER,
    "containerd.io/gc.bref.content": CONTENT,
    "containerd.io/gc.bref.image": IMAGE,
}
_SNAPSHOT_BACK = "containerd.io/gc.bref.snapshot."
_CONDITION = "containerd.io/gc.cond.snapshot"
_USED_AT = "containerd.io/gc.cond.value-usedat"
_SANDBOXES, _BACK_REFERENCES, _CONDITIONS = (2, 0), (2, 2), (2, 3)
"""The releases from which labels of sandboxes, back references and conditions count."""


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
        records, own = _place(store.namespaces[name], kind, key)
        del records[own]
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


def _place(space: StoredNamespace, kind: str, key: str) -> tuple[dict[str, Any], str]:
    """The records of this kind, and the key among them."""
    if kind == SNAPSHOT:
        snapshotter, _, own = key.partition("/")
        return space.snapshots.get(snapshotter, {}), own
    tables: dict[str, dict[str, Any]] = {CONTENT: space.content, IMAGE: space.images}
    tables |= {INGEST: space.ingests, LEASE: space.leases, CONTAINER: space.containers}
    return tables[kind], key


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
    back = _back_references(store)
    for name, space in store.namespaces.items():
        pending.extend(_roots(store, name, space))
        for node in _held_flat(store, name, space):
            beneath: GraphNode | None = node
            while beneath is not None and beneath not in flat:
                flat.add(beneath)
                beneath = _beneath(space, beneath)
    while pending:
        node = pending.pop()
        if node not in followed:
            followed.add(node)
            pending.extend(_references(store, node))
            pending.extend(back.get(node, ()))
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
        if _is_root(store, blob.labels):
            yield (name, CONTENT, blob.digest)
    for container in space.containers.values():
        yield (name, CONTAINER, container.id)
        if container.snapshotter and container.snapshot_key:
            yield (name, SNAPSHOT, f"{container.snapshotter}/{container.snapshot_key}")
        yield from _labelled(name, container.labels)
    for snapshotter, rows in space.snapshots.items():
        for snapshot in rows.values():
            if _is_root(store, snapshot.labels):
                yield (name, SNAPSHOT, f"{snapshotter}/{snapshot.key}")
    if store.release >= _SANDBOXES:
        for sandbox in space.sandboxes.values():
            yield from _labelled(name, sandbox.labels)


def _is_root(store: Store, labels: Labels) -> bool:
    """From 2.2 on the label's name may go on."""
    if store.release < _BACK_REFERENCES:
        return _ROOT in labels
    return any(key.startswith(_ROOT) for key in labels)


def _held_flat(store: Store, name: str, space: StoredNamespace) -> Iterator[GraphNode]:
    for lease in space.leases.values():
        if _FLAT in lease.labels and not expired(lease.labels, store.clock()):
            yield from _resources(name, lease.resources)


def _resources(name: str, resources: dict[tuple[str, str], None]) -> Iterator[GraphNode]:
    kinds = {"content": CONTENT, "ingests": INGEST, "images": IMAGE}
    for kind, key in resources:
        if kind in kinds:
            yield (name, kinds[kind], key)
        else:
            yield (name, SNAPSHOT, f"{kind.partition('/')[2]}/{key}")


def _references(store: Store, node: GraphNode) -> Iterator[GraphNode]:
    name, kind, key = node
    space = store.namespaces[name]
    records, own = _place(space, kind, key)
    record = records.get(own)
    if record is None:
        return
    if kind == INGEST and record.expected:
        yield (name, CONTENT, record.expected)
    if (beneath := _beneath(space, node)) is not None:
        yield beneath
    if kind in {CONTENT, IMAGE, SNAPSHOT}:
        yield from _labelled(name, record.labels)


def _beneath(space: StoredNamespace, node: GraphNode) -> GraphNode | None:
    """What a flat lease keeps with a resource: the parent of a snapshot, the target of an image."""
    name, kind, key = node
    records, own = _place(space, kind, key)
    record = records.get(own)
    if kind == IMAGE and record is not None:
        return (name, CONTENT, record.digest)
    if kind == SNAPSHOT and record is not None and record.parent:
        return (name, SNAPSHOT, f"{key.partition('/')[0]}/{record.parent}")
    return None


def _back_references(store: Store) -> dict[GraphNode, list[GraphNode]]:
    """Who lives while a node does: the owners of back references to it, and snapshots whose condition for it holds."""
    back: dict[GraphNode, list[GraphNode]] = {}
    if store.release < _BACK_REFERENCES:
        return back
    for name, space in store.namespaces.items():
        owners = [((name, CONTENT, blob.digest), blob.labels) for blob in space.content.values()]
        owners += [((name, IMAGE, image.name), image.labels) for image in space.images.values()]
        if store.release >= _CONDITIONS:
            for owner, labels in owners:
                back.setdefault(owner, []).extend(_conditional(name, space, labels, store.clock()))
        for snapshotter, rows in space.snapshots.items():
            owners += [((name, SNAPSHOT, f"{snapshotter}/{row.key}"), row.labels) for row in rows.values()]
        for owner, labels in owners:
            for other in _labelled(name, labels, _BACK, _SNAPSHOT_BACK):
                back.setdefault(other, []).append(owner)
    return back


def _conditional(name: str, space: StoredNamespace, labels: Labels, now: int) -> Iterator[GraphNode]:
    for key, value in labels.items():
        conditions, bar, own = value.partition("|")
        if not (key.startswith(_CONDITION) and bar):
            continue
        snapshotter = key[len(_CONDITION) :].lstrip("./").partition("/")[0]
        snapshot = space.snapshots.get(snapshotter, {}).get(own)
        ages = [] if snapshot is None else list(_ages(snapshot.labels, now))
        if any(_holds(condition, age) for condition in conditions.split(",") for age in ages):
            yield (name, SNAPSHOT, f"{snapshotter}/{own}")


def _ages(labels: Labels, now: int) -> Iterator[int]:
    """How long ago a snapshot was used, by its labels [ns]."""
    for key, value in labels.items():
        if key.startswith(_USED_AT):
            with suppress(InputError):
                yield now - gotime.parse_rfc3339(value)


def _holds(condition: str, age: int) -> bool:
    if not condition.startswith(("usedat<", "usedat>")):
        return False
    try:
        limit = gotime.parse_duration(condition[len("usedat<") :])
    except InputError:
        return False
    return age < limit if condition.startswith("usedat<") else age > limit


def _labelled(
    name: str, labels: Labels, kinds: dict[str, str] = _REFERENCES, snapshots: str = _SNAPSHOT_REF
) -> Iterator[GraphNode]:
    """References in labels: a prefix must be the whole key or be followed by a dot or a slash."""
    for key, value in labels.items():
        for prefix, kind in kinds.items():
            if key == prefix or key.startswith((f"{prefix}.", f"{prefix}/")):
                yield (name, kind, value)
        if key.startswith(snapshots):
            yield (name, SNAPSHOT, f"{key[len(snapshots) :].partition('/')[0]}/{value}")
