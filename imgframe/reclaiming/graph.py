"""The graph that containerd's garbage collector walks, for all nodes of an inventory at once.

Every image record, blob of a namespace, snapshot, container, lease and ingest has a number; an edge says that its source
keeps its target. Reachability is computed by passes over all edges in stages (:mod:`imgframe.reclaiming.stages`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from imgframe.arrow.keys import NONE, Bools, Ints, numbers, one_array, plain_codes
from imgframe.errors import InputError
from imgframe.golang import time as gotime
from imgframe.inventory import Inventory, memoised
from imgframe.reclaiming.conditional_edges import ConditionalEdges, LabelledConditions, conditional_edges
from imgframe.reclaiming.edges_by_name import EdgeBuilder, Placeholders, labelled
from imgframe.reclaiming.gc_labels import (
    CONTAINER,
    CONTENT,
    IMAGE,
    INGEST,
    LEASE,
    SANDBOX,
    SNAPSHOT,
    LabelReferences,
    read_references,
)
from imgframe.reclaiming.object_index import LABEL_COLUMNS, TABLES, UNKNOWN_RELEASE, ObjectIndex, ObjectNames
from imgframe.reclaiming.stages import Edges, EdgeStages, push_true
from imgframe.usage.chains import Chains, chains_in, chains_of

NEVER = np.iinfo(np.int64).max
_ALWAYS_GONE = np.iinfo(np.int64).min
_CHUNK = 1 << 18  # edges per step, so that they stay in the CPU cache
_DAY = 86_400_000_000_000


class FlatLeases(NamedTuple):
    """What leases with ``gc.flat`` keep, without its references: the lease, the image record between (or -1), the object."""

    lease: Ints
    image: Ints
    target: Ints


@dataclass(frozen=True)
class Graph:
    """The objects of an inventory, and which keeps which.

    Row ``r`` of kind ``k`` has the number ``start[k] + r``; the kinds are those of :mod:`imgframe.reclaiming.gc_labels`, the
    rows those of the tables, for leases ``lease_rows`` (the first row of each). ``until`` is the time in ns until which an
    object is itself a root. ``store`` is the number of each object's node, ``node_store`` that of each row of the table nodes,
    ``collected`` the time at which each store was
    collected. ``physical`` is one row of ``blobs`` for each blob of a store, whichever namespaces list it.
    ``conditional`` are edges that hold at some times only; :meth:`at` adds those of one time.
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
    node_store: Ints
    collected: Ints
    physical: Ints
    blob_size: Ints
    snapshot_size: Ints
    snapshot_size_known: Bools
    snapshot_inodes: Ints
    images_kept_by_objects: bool
    conditional: ConditionalEdges
    cache: dict[Any, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of objects."""
        return int(self.start[-1])

    def at(self, now: int | None) -> Graph:
        """The graph with the conditional edges that hold at the time ``now`` (ns; by default when their node was collected)."""
        edges = self.conditional
        if not len(edges.source):
            return self
        key = ("at", now)
        if key not in self.cache:
            hold = edges.at(self.collected[self.store[edges.source]] if now is None else now)
            late = Edges(
                np.concatenate([self.late.source, edges.source[hold]]),
                np.concatenate([self.late.target, edges.target[hold]]),
            )
            self.cache[key] = replace(self, late=late, cache={})
        return self.cache[key]

    def part(self, kind: int) -> slice:
        """The numbers of one kind."""
        return slice(int(self.start[kind]), int(self.start[kind + 1]))

    def table(self, kind: int) -> pa.Table:
        """The table of one kind, on the rows that its numbers count."""
        rows = self.tables[TABLES[kind]]
        return rows.take(pa.array(self.lease_rows)) if kind == LEASE else rows

    def kind_of(self, numbers_: Ints) -> Ints:
        """The kind of each number."""
        return np.searchsorted(self.start, numbers_, side="right") - 1

    def roots(self, now: int | None) -> Bools:
        """The objects that are roots at the time ``now`` (ns; by default when their node was collected)."""
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

    def reached(self, numbers_: Ints) -> Bools:
        """What these objects refer to, directly or not, and they themselves."""
        marked = np.zeros(self.count, np.bool_)
        marked[numbers_] = True
        self.spread(marked, push_true)
        return marked

    @property
    def blobs_listed_once(self) -> bool:
        """Whether no blob of a store is listed by several namespaces."""
        if "listed once" not in self.cache:
            self.cache["listed once"] = bool((self.physical == np.arange(len(self.physical))).all())
        return self.cache["listed once"]

    def stays(self, kind: int, marked: Bools) -> Bools:
        """Which rows of a kind stay if ``marked`` is kept: a blob stays as long as any namespace of its store keeps it."""
        rows = marked[self.part(kind)]
        if kind != CONTENT or self.blobs_listed_once:
            return rows
        out = np.zeros(len(rows), np.bool_)
        out[self.physical[rows]] = True
        return out[self.physical]

    def lost(self, kind: int, before: Bools, after: Bools) -> Ints:
        """The rows of a kind that stay if ``before`` is kept, but not if ``after`` is; each physical blob is one row."""
        lost = self.stays(kind, before) & ~self.stays(kind, after)
        if kind == CONTENT and not self.blobs_listed_once:
            lost &= self.physical == np.arange(len(lost))
        return np.flatnonzero(lost)

    def mark(self, marked: Bools, removed: Ints | None, now: int | None) -> Bools:
        """The mark phase: extend ``marked``, in place, by what it reaches once the image records ``removed`` are gone."""

        def settle(values: Bools) -> None:
            if removed is not None:
                values[removed] = False

        settle(marked)
        self.spread(marked, push_true, settle)
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

        ``settle`` corrects the values of image records once they are reached: a deleted record passes nothing on.
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


def graph_of(inventory: Inventory, now: int | None = None) -> Graph:
    """The graph of an inventory at the time ``now`` (ns; by default when each node was collected)."""
    return _graph_of(inventory).at(now)


@memoised
def _graph_of(inventory: Inventory) -> Graph:
    return build({name: inventory.arrow(name) for name in ("nodes", *TABLES)}, chains_in(inventory))


def build(tables: Mapping[str, pa.Table], chains: Chains | None = None) -> Graph:
    """The graph of the tables nodes, images, blobs, snapshots, containers, leases, ingests and sandboxes.

    ``chains`` are those of the table snapshots, if they are already resolved.
    """
    index = ObjectIndex(tables)
    chains = chains_of(tables["snapshots"]) if chains is None else chains
    releases = index.releases()
    ordered = EdgeStages(index.start)
    read = {kind: read_references(tables[TABLES[kind]][column]) for kind, column in LABEL_COLUMNS.items()}
    read[SANDBOX] = read[SANDBOX].of_sandboxes()
    placeholders = Placeholders(index, read, releases)
    images, containers, snapshots = tables["images"], tables["containers"], tables["snapshots"]
    builder = EdgeBuilder(ordered, index, placeholders)
    builder.add(IMAGE, CONTENT, np.arange(images.num_rows), ObjectNames(images["digest"]))
    writable = ObjectNames(containers["snapshot_key"], containers["snapshotter"])
    builder.add(CONTAINER, SNAPSHOT, np.arange(containers.num_rows), writable)
    for kind, column in LABEL_COLUMNS.items():
        _add_labels(builder, kind, plain_codes(tables[TABLES[kind]][column]), read[kind], releases)
    lost = np.flatnonzero(chains.missing)
    parents = ObjectNames(snapshots["parent"], snapshots["snapshotter"], lost)
    builder.add(SNAPSHOT, SNAPSHOT, lost, parents)
    flat, leased = _add_leases(builder, chains)
    early, stages, late = ordered.stages(chains.parent, chains.depth, chains.cycle)
    size, size_known = numbers(tables["snapshots"]["size"])
    return Graph(
        tables=tables,
        start=np.append(index.start, index.start[-1] + placeholders.count),
        early=early,
        stages=stages,
        late=late,
        flat=flat,
        until=np.append(_until(index, read, releases, leased), np.full(placeholders.count, _ALWAYS_GONE)),
        lease_rows=index.lease_rows,
        store=np.append(index.store(), np.zeros(placeholders.count, np.int64)),
        node_store=index.node_store,
        collected=index.per_store(_times(tables["nodes"]["collected_at"], time.time_ns()), time.time_ns()),
        physical=index.physical(),
        blob_size=numbers(tables["blobs"]["size"])[0],
        snapshot_size=size,
        snapshot_size_known=size_known,
        snapshot_inodes=numbers(tables["snapshots"]["inodes"])[0],
        images_kept_by_objects=ordered.images_kept_by_objects,
        conditional=_conditional(index, read, releases),
    )


def _conditional(index: ObjectIndex, read: dict[int, LabelReferences], releases: Ints) -> ConditionalEdges:
    """The edges of conditions, which count on image records and blobs, with the times of snapshots."""
    texts = {
        kind: plain_codes(index.tables[TABLES[kind]][LABEL_COLUMNS[kind]])
        for kind in (IMAGE, CONTENT, SNAPSHOT)
    }
    owners = [LabelledConditions(kind, texts[kind], read[kind].conditions) for kind in (IMAGE, CONTENT)]
    return conditional_edges(index, owners, texts[SNAPSHOT], read[SNAPSHOT].used_at, releases)


def _times(column: pa.ChunkedArray, default: int) -> Ints:
    """A time column in nanoseconds, ``default`` where it is NA."""
    return one_array(column).cast(pa.int64()).fill_null(default).to_numpy()


def _add_labels(builder: EdgeBuilder, kind: int, texts: Ints, read: LabelReferences, releases: Ints) -> None:
    """Add the edges from the labels of one table."""
    for wanted in np.unique(read.kind).tolist():
        for backward in np.unique(read.back[read.kind == wanted]).tolist():
            rows, called = labelled(builder.index, kind, texts, read, releases, wanted, backward)
            if backward:
                builder.add_back(wanted, kind, rows, called)
            else:
                builder.add(kind, wanted, rows, called)


def _add_leases(builder: EdgeBuilder, chains: Chains) -> tuple[FlatLeases, Ints]:
    """Add the edges from leases to their resources; return what flat leases keep, and the ingests that any lease holds."""
    index = builder.index
    leases = index.tables["leases"]
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
            scope = index.lease_row_scope[chosen]
            found.append(index.find(kind, scope, called))
            if chosen is plain:
                builder.add_from(LEASE, kind, index.lease_of_row[chosen], scope, called)
        there = found[1] >= 0
        lease = index.start[LEASE] + index.lease_of_row[bare]
        flat.append(_flat(index.start, kind, lease[there], found[1][there], index, chains))
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


def _flat(start: Ints, kind: int, lease: Ints, found: Ints, index: ObjectIndex, chains: Chains) -> FlatLeases:
    """What flat leases keep: a blob alone, a snapshot with its parents, a record with its target blob."""
    if kind == IMAGE:
        rows = found - start[IMAGE]
        digest = ObjectNames(index.tables["images"]["digest"], None, rows)
        target = index.find(CONTENT, index.scope[IMAGE][rows], digest)
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


def _until(index: ObjectIndex, read: dict[int, LabelReferences], releases: Ints, leased: Ints) -> Ints:
    """The time until which each object is itself a root."""
    tables = index.tables
    until = np.full(int(index.start[-1]), _ALWAYS_GONE, np.int64)
    release = releases[index.scope[IMAGE] // index.width]
    until[index.part(IMAGE)] = NEVER
    texts = plain_codes(tables["images"]["record_labels"])
    for text, moment in read[IMAGE].expire.items():
        rows = np.flatnonzero((texts == text) & (release >= 200) & (release < UNKNOWN_RELEASE))
        until[index.start[IMAGE] + rows] = _moment(moment)
    until[index.part(CONTAINER)] = NEVER
    until[index.part(SANDBOX)] = NEVER
    until[index.part(LEASE)] = _times(tables["leases"]["expires_at"], NEVER)[index.lease_rows]
    until[index.part(INGEST)] = _times(tables["ingests"]["started_at"], NEVER - _DAY) + _DAY
    until[leased] = _ALWAYS_GONE  # they live as long as their leases
    for kind, name in ((CONTENT, "blobs"), (SNAPSHOT, "snapshots")):
        if not read[kind].root:
            continue
        labels = one_array(tables[name]["labels"])
        since = read[kind].roots(len(labels.dictionary))[plain_codes(labels)]
        rows = np.flatnonzero(releases[index.scope[kind] // index.width] >= since)
        until[index.start[kind] + rows] = NEVER
    return until


def _moment(text: str) -> int:
    """The time of a ``gc.expire`` label in ns; what containerd cannot parse never expires."""
    try:
        return max(min(gotime.parse_rfc3339(text), NEVER), _ALWAYS_GONE)
    except InputError:
        return NEVER
