"""Which candidates hold each object that would go if all of them were deleted: the input of :mod:`imgframe.planning.knapsack`."""

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
from imgframe.reclaiming.reclaim import reclaim_rows

_BITS = 62


class SharedObjects(NamedTuple):
    """Objects of one node with their holders: object ``o`` is held by the units ``holder[start[o]:start[o + 1]]``."""

    size: Ints
    start: Ints
    holder: Ints


def candidate_holders(inventory: Inventory, images: Any, unit: Ints) -> dict[str, SharedObjects]:
    """What goes when all records ``images`` are deleted, by node: sizes, and the units of records that hold each object.

    ``unit`` is the number of each row's unit, from 0 on each node; a unit is deleted as a whole. What is already garbage is not
    included.

    Raises:
        MissingColumn: the frame does not say which records are meant.
    """
    graph = graph_of(inventory)
    rows = rows_of(graph.tables["images"], images)
    there = rows >= 0
    rows, unit = rows[there], unit[there]
    after = reclaim_rows(graph, np.unique(rows)).after
    before = graph.kept(None)
    content, snapshot = (graph.lost(kind, before, after) for kind in (CONTENT, SNAPSHOT))
    size = np.concatenate([graph.blob_size[content], graph.snapshot_size[snapshot]])
    items, holders = [], []
    for first in range(0, int(unit.max(initial=-1)) + 1, _BITS):
        mine = (unit >= first) & (unit < first + _BITS)
        reached = _reached(graph, rows[mine], unit[mine] - first)
        blobs = np.zeros(len(graph.physical), np.int64)
        np.bitwise_or.at(blobs, graph.physical, reached[graph.part(CONTENT)])
        masks = np.concatenate([blobs[content], reached[graph.part(SNAPSHOT)][snapshot]])
        for bit in range(min(_BITS, int(unit.max()) + 1 - first)):
            found = np.flatnonzero((masks >> bit) & 1)
            items.append(found)
            holders.append(np.full(len(found), first + bit, np.int64))
    none = np.zeros(0, np.int64)
    nodes = [
        graph.table(kind)["node"].take(pa.array(lost))
        for kind, lost in ((CONTENT, content), (SNAPSHOT, snapshot))
    ]
    return _by_node(nodes, size, np.concatenate([none, *items]), np.concatenate([none, *holders]))


def _by_node(nodes: Sequence[pa.Array], size: Ints, item: Ints, holder: Ints) -> dict[str, SharedObjects]:
    """The objects of each node, numbered through ``nodes``; ``holder`` holds ``item``, pair by pair."""
    codes, words = unify(nodes)
    node = np.concatenate(codes)
    order, bounds = grouped(node, len(words))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    moved = place[item]
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
    """For every object a bit for each unit whose records reach it."""
    own = np.zeros(graph.count, np.int64)
    np.bitwise_or.at(own, rows, np.int64(1) << bit)

    def settle(values: Ints) -> None:
        values[rows] |= own[rows]

    reached = own.copy()
    graph.spread(reached, _merge, settle)
    return reached


def _merge(values: Ints, source: Ints, target: Ints) -> None:
    np.bitwise_or.at(values, target, values[source])
