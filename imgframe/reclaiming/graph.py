"""The graph that containerd's garbage collector walks, for all nodes of an inventory at once.

Every image record, blob of a namespace, snapshot, container, lease and ingest has one number; an edge says that the first
keeps the second. What reaches what is found by passes over all edges in stages (:mod:`imgframe.reclaiming.stages`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from imgframe.arrow.keys import NONE, Bools, Ints, numbers, one_array, plain_codes
from imgframe.errors import InputError
from imgframe.golang import time as gotime
from imgframe.inventory import Inventory, memoised
from imgframe.reclaiming.edges_by_name import EdgeBuilder, Placeholders, labelled
from imgframe.reclaiming.gc_labels import (
    CONTAINER,
    CONTENT,
    IMAGE,
    INGEST,
    LEASE,
    SNAPSHOT,
    LabelReferences,
    read_references,
)
from imgframe.reclaiming.object_index import TABLES, UNKNOWN_RELEASE, ObjectIndex, ObjectNames
from imgframe.reclaiming.stages import Edges, EdgeStages
from imgframe.usage.chains import Chains, chains_in, chains_of

NEVER = np.iinfo(np.int64).max
_ALWAYS_GONE = np.iinfo(np.int64).min
_CHUNK = 1 << 18  # edges per step: what stays in the cache
_DAY = 86_400_000_000_000
_LABELS = (
    (IMAGE, "images", "record_labels"),
    (CONTENT, "blobs", "labels"),
    (SNAPSHOT, "snapshots", "labels"),
    (CONTAINER, "containers", "labels"),
)


class FlatLeases(NamedTuple):
    """What leases with ``gc.flat`` keep without its references: the lease, the image record between (or -1), the object."""

    lease: Ints
    image: Ints
    target: Ints


@dataclass(frozen=True)
class Graph:
    """The objects of an inventory and which keep which.

    Numbers: row ``r`` of kind ``k`` is ``start[k] + r``; the kinds are those of :mod:`imgframe.reclaiming.gc_labels`, the rows
    those of the tables, for leases ``lease_rows`` (the first row of each). ``until`` is the time in ns up to which an
    object is a root by itself. ``store`` is the node of each object as a number, ``collected`` the time of each store's
    collection. ``physical`` names one row of ``blobs`` for each blob of a store.
    """

    tables: Mapping[str, pa.Table]
    start: Ints
    early: list[Edges]
    stages: list[Edges]
    late: Edges
    flat: FlatLeases
    until: Ints
    lease_rows: Ints
    store: Ints
    collected: Ints
    physical: Ints
    blob_size: Ints
    snapshot_size: Ints
    snapshot_size_known: Bools
    snapshot_inodes: Ints
    images_kept_by_objects: bool
    cache: dict[Any, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many objects there are."""
        return int(self.start[-1])

    def part(self, kind: int) -> slice:
        """The numbers of one kind."""
        return slice(int(self.start[kind]), int(self.start[kind + 1]))

    def kind_of(self, numbers_: Ints) -> Ints:
        """The kind of each number."""
        return np.searchsorted(self.start, numbers_, side="right") - 1

    def roots(self, now: int | None) -> Bools:
        """The objects that nothing needs to hold at the time ``now`` (ns; default: when their node was collected)."""
        key = ("roots", now)
        if key not in self.cache:
            moment: Any = self.collected[self.store] if now is None else now
            self.cache[key] = self.until >= moment
        return self.cache[key]

    def kept(self, now: int | None) -> Bools:
        """What a collection would keep if nothing were deleted."""
        key = ("kept", now)
        if key not in self.cache:
            self.cache[key] = self.mark(self.roots(now).copy(), None, now)
        return self.cache[key]

    def mark(self, marked: Bools, removed: Ints | None, now: int | None) -> Bools:
        """The mark phase: everything that ``marked`` reaches, when the image records ``removed`` are gone; in place."""

        def settle(values: Bools) -> None:
            if removed is not None:
                values[removed] = False

        settle(marked)
        self.spread(marked, _mark, settle)
        flat = self.flat
        live = self.roots(now)[flat.lease]
        if removed is not None and live.any():
            live &= ~np.isin(flat.image, removed)
        marked[flat.target[live]] = True
        return marked

    def spread(
        self,
        values: Any,
        push: Callable[[Any, Ints, Ints], None],
        settle: Callable[[Any], None] = lambda _: None,
    ) -> None:
        """Carry values along all edges with ``push(values, source, target)``, in place.

        ``settle`` corrects the values of image records after they were reached: a deleted record hands nothing on.
        """
        while True:
            for edges in self.early:
                push(values, *edges)
            settle(values)
            for edges in self.stages:
                for begin in range(0, len(edges.source), _CHUNK):
                    push(values, edges.source[begin : begin + _CHUNK], edges.target[begin : begin + _CHUNK])
            if not len(self.late.source):
                return
            before = values.copy()
            push(values, *self.late)
            settle(values)
            if np.array_equal(before, values):
                return


def _mark(values: Bools, source: Ints, target: Ints) -> None:
    values[target[values[source]]] = True


@memoised
def graph_of(inventory: Inventory) -> Graph:
    """The graph of an inventory."""
    return build({name: inventory.arrow(name) for name in ("nodes", *TABLES)}, chains_in(inventory))


def build(tables: Mapping[str, pa.Table], chains: Chains | None = None) -> Graph:
    """The graph of the tables nodes, images, blobs, snapshots, containers, leases and ingests.

    ``chains`` are those of the table snapshots, where they are resolved already.
    """
    names = ObjectIndex(tables)
    chains = chains_of(tables["snapshots"]) if chains is None else chains
    releases = names.releases()
    staging = EdgeStages(names.start)
    read = {kind: read_references(tables[name][column]) for kind, name, column in _LABELS}
    placeholders = Placeholders(names, read, releases)
    images, containers, snapshots = tables["images"], tables["containers"], tables["snapshots"]
    link = EdgeBuilder(staging, names, placeholders)
    link.add(IMAGE, CONTENT, _rows(names, IMAGE), ObjectNames(images["digest"]))
    writable = ObjectNames(containers["snapshot_key"], containers["snapshotter"])
    link.add(CONTAINER, SNAPSHOT, _rows(names, CONTAINER), writable)
    for kind, name, column in _LABELS:
        _add_labels(link, kind, plain_codes(tables[name][column]), read[kind], releases)
    lost = np.flatnonzero(chains.missing)
    parents = ObjectNames(snapshots["parent"], snapshots["snapshotter"], lost)
    link.add(SNAPSHOT, SNAPSHOT, lost, parents)
    flat, leased = _add_leases(link, chains)
    early, stages, late = staging.stages(chains.parent, chains.depth, chains.cycle)
    size, size_known = numbers(tables["snapshots"]["size"])
    return Graph(
        tables=tables,
        start=np.append(names.start, names.start[-1] + placeholders.count),
        early=early,
        stages=stages,
        late=late,
        flat=flat,
        until=np.append(_until(names, read, releases, leased), np.full(placeholders.count, _ALWAYS_GONE)),
        lease_rows=names.lease_rows,
        store=np.append(names.store(), np.zeros(placeholders.count, np.int64)),
        collected=names.per_store(_times(tables["nodes"]["collected_at"], time.time_ns()), time.time_ns()),
        physical=names.physical(),
        blob_size=numbers(tables["blobs"]["size"])[0],
        snapshot_size=size,
        snapshot_size_known=size_known,
        snapshot_inodes=numbers(tables["snapshots"]["inodes"])[0],
        images_kept_by_objects=staging.images_kept_by_objects,
    )


def _rows(names: ObjectIndex, kind: int) -> Ints:
    return np.arange(names.start[kind + 1] - names.start[kind])


def _times(column: pa.ChunkedArray, default: int) -> Ints:
    """A time column as nanoseconds, ``default`` where it is NA."""
    return one_array(column).cast(pa.int64()).fill_null(default).to_numpy()


def _add_labels(link: EdgeBuilder, kind: int, texts: Ints, read: LabelReferences, releases: Ints) -> None:
    """The edges that the labels of one table make."""
    for wanted in np.unique(read.kind).tolist():
        for backward in np.unique(read.back[read.kind == wanted]).tolist():
            rows, called = labelled(link.names, kind, texts, read, releases, wanted, backward)
            if backward:
                link.add_back(wanted, kind, rows, called)
            else:
                link.add(kind, wanted, rows, called)


def _add_leases(link: EdgeBuilder, chains: Chains) -> tuple[FlatLeases, Ints]:
    """The edges from leases to their resources; what flat ones keep; and which ingests any lease holds."""
    names = link.names
    leases = names.tables["leases"]
    kinds, what = one_array(leases["resource_kind"]), one_array(leases["resource"])
    words, codes = kinds.dictionary.to_pylist(), plain_codes(kinds)
    flat_rows = _has_label(leases["labels"], "containerd.io/gc.flat")
    flat: list[FlatLeases] = []
    leased = []
    for code, word in enumerate(words):
        kind, rows = _resource_kind(word), np.flatnonzero(codes == code)
        plain, bare = rows[~flat_rows[rows]], rows[flat_rows[rows]]
        found = []
        for chosen in (plain, bare):
            snapshotter = pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(len(what), np.int32)), pa.array([word.split("/", 1)[-1]])
            )
            called = ObjectNames(what, snapshotter, chosen)
            scope = names.lease_row_scope[chosen]
            found.append(names.find(kind, scope, called))
            if chosen is plain:
                link.add_from(LEASE, kind, names.lease_of_row[chosen], scope, called)
        there = found[1] >= 0
        lease = names.start[LEASE] + names.lease_of_row[bare]
        flat.append(_flat(names.start, kind, lease[there], found[1][there], names, chains))
        if kind == INGEST:
            leased += found
    none = np.empty(0, np.int64)
    joined = [np.concatenate([none, *parts_]) for parts_ in zip(*flat, strict=True)] or [none] * 3
    everything = np.concatenate([none, *leased])
    return FlatLeases(*joined), everything[everything >= 0]


def _resource_kind(word: str) -> int:
    if word.startswith("snapshots/"):
        return SNAPSHOT
    kind = {"content": CONTENT, "ingests": INGEST, "images": IMAGE}.get(word)
    if kind is None:
        raise InputError(
            f"lease resources are content, snapshots/<snapshotter>, ingests or images; the table leases has {word!r}"
        )
    return kind


def _flat(start: Ints, kind: int, lease: Ints, found: Ints, names: ObjectIndex, chains: Chains) -> FlatLeases:
    """A flat lease keeps a blob alone, a snapshot with its parents, a record with its target blob."""
    if kind == IMAGE:
        rows = found - start[IMAGE]
        digest = ObjectNames(names.tables["images"]["digest"], None, rows)
        target = names.find(CONTENT, names.scope[IMAGE][rows], digest)
        there = target >= 0
        return FlatLeases(
            np.concatenate([lease, lease[there]]),
            np.concatenate([found, found[there]]),
            np.concatenate([found, target[there]]),
        )
    if kind != SNAPSHOT:
        return FlatLeases(lease, np.full(len(lease), NONE, np.int64), found)
    count = len(chains.parent) + 1
    seen = new = np.unique(lease * count + found - start[SNAPSHOT])
    while len(new):
        up = chains.parent[new % count]
        new = np.setdiff1d((new // count * count + up)[up >= 0], seen)
        seen = np.union1d(seen, new)
    return FlatLeases(seen // count, np.full(len(seen), NONE, np.int64), seen % count + start[SNAPSHOT])


def _has_label(column: pa.ChunkedArray, label: str) -> Bools:
    import json

    array = one_array(column)
    words = np.array([bool(json.loads(text).get(label)) for text in array.dictionary.to_pylist()] + [False])
    return words[plain_codes(array)]


def _until(names: ObjectIndex, read: dict[int, LabelReferences], releases: Ints, leased: Ints) -> Ints:
    """Up to when each object is a root by itself."""
    tables = names.tables
    until = np.full(int(names.start[-1]), _ALWAYS_GONE, np.int64)
    release = releases[names.scope[IMAGE] // names.width]
    until[names.part(IMAGE)] = NEVER
    texts = plain_codes(tables["images"]["record_labels"])
    for text, moment in read[IMAGE].expire.items():
        rows = np.flatnonzero((texts == text) & (release >= 200) & (release < UNKNOWN_RELEASE))
        until[names.start[IMAGE] + rows] = _moment(moment)
    until[names.part(CONTAINER)] = NEVER
    until[names.part(LEASE)] = _times(tables["leases"]["expires_at"], NEVER)[names.lease_rows]
    until[names.part(INGEST)] = _times(tables["ingests"]["started_at"], NEVER - _DAY) + _DAY
    until[leased] = _ALWAYS_GONE  # it lives as long as its lease
    for kind, name in ((CONTENT, "blobs"), (SNAPSHOT, "snapshots")):
        if not read[kind].root:
            continue
        labels = one_array(tables[name]["labels"])
        since = read[kind].roots(len(labels.dictionary))[plain_codes(labels)]
        rows = np.flatnonzero(releases[names.scope[kind] // names.width] >= since)
        until[names.start[kind] + rows] = NEVER
    return until


def _moment(text: str) -> int:
    """The time of a ``gc.expire`` label in ns; what containerd cannot read does not expire."""
    try:
        return max(min(gotime.parse_rfc3339(text), NEVER), _ALWAYS_GONE)
    except InputError:
        return NEVER
