"""Which of several candidates hold each thing that would go if all of them went: the input of a choice."""

from __future__ import annotations

from typing import Any

import numpy as np

from imgframe.inventory import Inventory
from imgframe.reclaiming.graph import Graph, graph_of
from imgframe.reclaiming.reclaim import kept_blobs, reclaim_rows
from imgframe.reclaiming.references import CONTENT, SNAPSHOT
from imgframe.usage.rows import Ints
from imgframe.usage.selecting import rows_of

_BITS = 62


def candidate_holders(inventory: Inventory, images: Any, unit: Ints) -> tuple[Ints, Ints, Ints]:
    """Things that go when all records ``images`` go: their sizes, and the units of records that hold each.

    ``unit`` numbers the group of each row from 0; a group goes as a whole. Gives ``size`` (bytes per thing), ``start`` and
    ``holder``: thing ``t`` is held by the units ``holder[start[t]:start[t + 1]]``. What is garbage already is not among them.

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
    start = np.searchsorted(thing[order], np.arange(len(size) + 1))
    return size, start.astype(np.int64), holder[order]


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
