"""What the graph holds, and by whom: the roots that reach each object, and what stays when image records are deleted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from imgframe import schema
from imgframe.arrow.keys import NONE, Bools, Ints, one_array, plain_codes
from imgframe.reclaiming.gc_labels import CONTAINER, CONTENT, IMAGE, INGEST, LEASE, SANDBOX, SNAPSHOT
from imgframe.reclaiming.graph import Graph
from imgframe.reclaiming.object_index import KEYS
from imgframe.reclaiming.stages import push_max, push_min

_NOBODY = np.iinfo(np.int64).max
KINDS = {CONTENT: "content", SNAPSHOT: "snapshot", INGEST: "ingest"}
"""The word for each kind of object that takes bytes."""
_HOLDER_KINDS = {
    IMAGE: "image",
    CONTAINER: "container",
    LEASE: "lease",
    SANDBOX: "sandbox",
    CONTENT: "label",
    SNAPSHOT: "label",
    INGEST: "ingest",
}
HELD = ("node", "namespace", "kind", "snapshotter", "key", "size", "holder_kind", "holder", "others")
"""Columns of what stays; ``others``: more than one root holds it."""


def ranks(graph: Graph) -> Ints:
    """A rank for every object, by kind, node, namespace and name: it does not depend on the order of rows."""
    if "ranks" not in graph.cache:
        out = np.full(graph.count, _NOBODY, np.int64)
        above = 0
        for kind in (IMAGE, CONTAINER, LEASE, SANDBOX, CONTENT, SNAPSHOT, INGEST):
            rows = graph.table(kind)
            names = [KEYS[kind], *(["snapshotter"] if kind == SNAPSHOT else []), "namespace", "node"]
            order = np.lexsort([plain_codes(rows[column]) for column in names])
            place = np.empty(rows.num_rows, np.int64)
            place[order] = np.arange(rows.num_rows)
            out[graph.part(kind)] = place + above
            above += rows.num_rows
        by_rank = np.full(above, NONE, np.int64)
        by_rank[out[out < _NOBODY]] = np.flatnonzero(out < _NOBODY)
        graph.cache["ranks"], graph.cache["by_rank"] = out, by_rank
    return graph.cache["ranks"]


def witnesses(graph: Graph, removed: Ints, now: int | None) -> tuple[Ints, Bools]:
    """For every object the first root (by rank) that reaches it without the records ``removed``, and whether others do."""
    rank, roots = ranks(graph), graph.roots(now)
    found = []
    flat = graph.flat
    live = roots[flat.lease] & ~np.isin(flat.image, removed)
    for push, merge, nobody in ((push_min, np.minimum, _NOBODY), (push_max, np.maximum, NONE)):
        values = np.where(roots, rank, nobody)

        def settle(values: Ints, nobody: int = nobody) -> None:
            values[removed] = nobody

        settle(values)
        graph.spread(values, push, settle)
        merge.at(values, flat.target[live], rank[flat.lease[live]])
        found.append(values)
    first, last = found
    root = np.full(graph.count, NONE, np.int64)
    reached = first < _NOBODY
    root[reached] = graph.cache["by_rank"][first[reached]]
    return root, reached & (first != last)


def held_table(graph: Graph, removed: Ints, after: Bools, now: int | None) -> pa.Table:
    """What the records ``removed`` refer to that stays when they are deleted, and who holds it."""
    reached = graph.reached(removed)
    root, others = witnesses(graph, removed, now)
    tables = []
    for kind in (CONTENT, SNAPSHOT):
        part = graph.part(kind)
        rows = np.flatnonzero(reached[part] & graph.stays(kind, after))
        kinds, holders = holder_names(graph, root[part][rows])
        if kind == CONTENT:
            keeper = _keeping_namespace(graph, after)[graph.physical[rows]]
            spaces = one_array(graph.tables["blobs"]["namespace"])
            for place in np.flatnonzero(root[part][rows] < 0).tolist():
                kinds[place], holders[place] = "namespace", spaces[int(keeper[place])].as_py()
        tables.append(held_rows(graph, kind, rows, kinds, holders, others[part][rows]))
    return pa.concat_tables(tables).unify_dictionaries()


def _keeping_namespace(graph: Graph, after: Bools) -> Ints:
    """For each physical blob the row of a namespace that keeps it, the first by name."""
    spaces = plain_codes(graph.tables["blobs"]["namespace"])
    rows = np.flatnonzero(after[graph.part(CONTENT)])
    out = np.full(len(graph.physical), NONE, np.int64)
    rows = rows[np.argsort(-spaces[rows], kind="stable")]
    out[graph.physical[rows]] = rows
    return out


def held_rows(
    graph: Graph,
    kind: int,
    rows: Ints,
    holder_kinds: Sequence[str] = (),
    holders: Sequence[str] = (),
    others: Bools | None = None,
) -> pa.Table:
    """Rows of the table of a kind with who holds each (empty: nobody): the columns :data:`HELD`."""
    nobody = [None] * len(rows)
    taken = graph.table(kind).take(pa.array(rows))
    snapshotter = taken["snapshotter"] if kind == SNAPSHOT else categories(nobody)
    columns = [
        taken["node"],
        taken["namespace"],
        categories([KINDS[kind]] * len(rows)),
        one_array(snapshotter).cast(schema.CATEGORY),
        one_array(taken[KEYS[kind]]).cast(schema.CATEGORY),
        taken["size"],
        categories([text or None for text in holder_kinds] or nobody),
        categories([text or None for text in holders] or nobody),
        pa.array(np.zeros(len(rows), np.bool_) if others is None else others),
    ]
    return pa.table([one_array(column) for column in columns], names=list(HELD))


def categories(words: Sequence[str | None]) -> pa.Array:
    """Words as a dictionary column."""
    return pa.array(words, pa.string()).dictionary_encode().cast(schema.CATEGORY)


def holder_names(graph: Graph, roots: Ints) -> tuple[list[str], list[str]]:
    """The kind and the name of each root, as users know them; empty where there is none."""
    kinds, names = [""] * len(roots), [""] * len(roots)
    of = graph.kind_of(roots)
    for kind, word in _HOLDER_KINDS.items():
        places = np.flatnonzero((of == kind) & (roots >= 0))
        if not len(places):
            continue
        rows = roots[places] - graph.start[kind]
        texts = one_array(graph.table(kind)[KEYS[kind]]).take(pa.array(rows)).to_pylist()
        for place, text in zip(places.tolist(), texts, strict=True):
            kinds[place], names[place] = word, text
    return kinds, names
