"""Which of several candidates hold each thing that would go if all of them went: the input of a choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from imgframe.arrow.image_rows import rows_of
from imgframe.arrow.keys import Ints, grouped, unify
from imgframe.inventory import Inventory
from imgframe.reclaiming.gc_labels import CONTENT, SNAPSHOT
from imgframe.reclaiming.graph import Graph, graph_of
from imgframe.reclaiming.reclaim import kept_blobs, reclaim_rows

_BITS = 62


class SharedObjects(NamedTuple):
    """Things of one node, with their holders: thing ``t`` is held by the units ``holder[start[t]:start[t + 1]]``."""

    size: Ints
    start: Ints
    holder: Ints


def candidate_holders(inventory: Inventory, images: Any, unit: Ints) -> dict[str, SharedObjects]:
    """Things that go when all records ``images`` go, by node: their sizes, and the units of records that hold each.

    ``unit`` numbers the group of each row, from 0 in each node; a group goes as a whole. What is garbage already is not among
    them.

    Raises:
        MissingColumn: the frame does not say which records are meant.
    """
    graph = graph_of(inventory)
    rows = rows_of(graph.tables["images"], images)
    there = rows >= 0
    rows, unit = rows[there], unit[there]
    after = reclaim_rows(graph, np.unique(rows)).after
    before = graph.kept(None)
    content = np.flatnonzero(kept_blobs(graph, before) & ~kept_blobs(graph, after))
    snapshot = np.flatnonzero((before & ~after)[graph.part(SNAPSHOT)])
    size = np.concatenate([graph.blob_size[content], graph.snapshot_size[snapshot]])
    things, holders = [], []
    for first in range(0, int(unit.max(initial=-1)) + 1, _BITS):
        mine = (unit >= first) & (unit < first + _BITS)
        reached = _reached(graph, rows[mine], unit[mine] - first)
        blobs = np.zeros(len(graph.physical), np.int64)
        np.bitwise_or.at(blobs, graph.physical, reached[graph.part(CONTENT)])
        masks = np.concatenate([blobs[content], reached[graph.part(SNAPSHOT)][snapshot]])
        for bit in range(min(_BITS, int(unit.max()) + 1 - first)):
            found = np.flatnonzero((masks >> bit) & 1)
            things.append(found)
            holders.append(np.full(len(found), first + bit, np.int64))
    thing = np.concatenate(things) if things else np.zeros(0, np.int64)
    holder = np.concatenate(holders) if holders else np.zeros(0, np.int64)
    order = np.argsort(thing, kind="stable")
    tables = (
        graph.tables["blobs"].take(pa.array(content)),
        graph.tables["snapshots"].take(pa.array(snapshot)),
    )
    return _by_node(tables, size, thing[order], holder[order])


def _by_node(tables: Sequence[pa.Table], size: Ints, thing: Ints, holder: Ints) -> dict[str, SharedObjects]:
    """The things of each node, which stand in ``tables`` one after the other; ``holder`` holds ``thing``, in its order."""
    codes, words = unify([table["node"] for table in tables])
    node = np.concatenate(codes)
    order, bounds = grouped(node, len(words))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    moved = place[thing]
    again = np.argsort(moved, kind="stable")
    start = np.searchsorted(moved[again], np.arange(len(order) + 1))
    holder = holder[again]
    found = {}
    for code, name in enumerate(words.to_pylist()):
        first, last = bounds[code], bounds[code + 1]
        if last > first:
            own = start[first : last + 1]
            found[name] = SharedObjects(size[order[first:last]], own - own[0], holder[own[0] : own[-1]])
    return found


def _reached(graph: Graph, rows: Ints, bit: Ints) -> Ints:
    """Per object a bit for each unit whose records reach it."""
    own = np.zeros(graph.count, np.int64)
    np.bitwise_or.at(own, rows, np.int64(1) << bit)

    def settle(values: Ints) -> None:
        values[rows] |= own[rows]

    reached = own.copy()
    graph.spread(reached, _merge, settle)
    return reached


def _merge(values: Ints, source: Ints, target: Ints) -> None:
    np.bitwise_or.at(values, target, values[source])
