"""What each image frees: deleted alone, or one after the other in a given order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from imgframe.arrow.image_rows import nanoseconds, rows_of
from imgframe.arrow.keys import NONE, Ints
from imgframe.inventory import Inventory
from imgframe.reclaiming.gc_labels import CONTENT, IMAGE, SNAPSHOT
from imgframe.reclaiming.graph import Graph, graph_of
from imgframe.reclaiming.reclaim import reclaim_rows
from imgframe.reclaiming.stages import push_max, push_min

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("content_bytes", "snapshot_bytes", "total_bytes", "inodes")
_EVER = np.iinfo(np.int64).max


def reclaim_each(inventory: Inventory, images: Any, *, now: Any = None) -> pd.DataFrame:
    """What each image record would free if it alone were deleted: a frame on ``images.index``.

    Columns content_bytes, snapshot_bytes, total_bytes and inodes, without what is already garbage; <NA> where a row names no
    record of the inventory. Two names of one digest free nothing each; deleting both frees all of it.

    Raises:
        MissingColumn: the frame does not say which records are meant.

    Example:
        >>> import imgframe as imf
        >>> inv = imf.Inventory({})
        >>> list(imf.reclaiming.reclaim_each(inv, inv.images).columns)
        ['content_bytes', 'snapshot_bytes', 'total_bytes', 'inodes']
    """
    moment = nanoseconds(now)
    graph = graph_of(inventory, moment)
    rows = rows_of(graph.tables["images"], images)
    return _frame(each_bytes(graph, moment), rows, images)


def reclaim_marginal(inventory: Inventory, images: Any, *, now: Any = None) -> pd.DataFrame:
    """What each image record adds when all are deleted in the given order: a frame on ``images.index``.

    The columns are those of :func:`reclaim_each`; their sums are what :func:`imgframe.reclaim` of all rows frees, without what is
    already garbage. A row that repeats a record adds 0.

    Raises:
        MissingColumn: the frame does not say which records are meant.

    Example:
        >>> import imgframe as imf
        >>> inv = imf.Inventory({})
        >>> len(imf.reclaiming.reclaim_marginal(inv, inv.images))
        0
    """
    moment = nanoseconds(now)
    graph = graph_of(inventory, moment)
    rows = rows_of(graph.tables["images"], images)
    there = np.flatnonzero(rows >= 0)
    order, first = np.unique(rows[there], return_index=True)
    position = np.zeros(len(order), np.int64)
    position[np.argsort(first, kind="stable")] = np.arange(len(order))
    made = marginal_bytes(graph, order, position, moment)
    places = np.full(len(rows), NONE, np.int64)
    again = np.ones(len(rows), np.bool_)
    places[there[first]] = position
    again[there[first]] = False
    frame = _frame(made, places, images)
    frame.loc[again & (rows >= 0), :] = 0
    return frame


def _frame(values: dict[str, Ints], places: Ints, images: Any) -> pd.DataFrame:
    import pandas as pd

    there = places >= 0
    data = {
        name: pd.arrays.IntegerArray(np.append(values[name], 0)[places], ~there)  # the last is for NA
        for name in COLUMNS
    }
    index = images.index if hasattr(images, "index") else pd.RangeIndex(len(places))
    return pd.DataFrame(data, index=index)


def marginal_bytes(graph: Graph, rows: Ints, position: Ints, now: int | None) -> dict[str, Ints]:
    """Freed bytes by position, for image rows deleted in the order of ``position``.

    Every object gets the position at which its last holder is deleted: the highest of those that reach it.
    """
    last = np.full(graph.count, NONE, np.int64)
    last[graph.roots(now)] = _EVER

    def settle(values: Ints) -> None:
        values[rows] = np.minimum(values[rows], position)

    settle(last)
    graph.spread(last, push_max, settle)
    flat, live = graph.flat, graph.roots(now)[graph.flat.lease]
    until = np.full(int(graph.start[IMAGE + 1]) + 1, _EVER, np.int64)  # the last is for no record between
    until[rows] = position
    np.maximum.at(last, flat.target[live], until[flat.image[live]])
    content = _per_blob(graph, last[graph.part(CONTENT)], np.maximum, NONE)
    return _sums(graph, content, last[graph.part(SNAPSHOT)], len(rows))


def _per_blob(graph: Graph, values: Ints, merge: np.ufunc, nobody: int) -> Ints:
    """Values of blob rows merged over the namespaces that list the same physical blob."""
    if graph.blobs_listed_once:
        return values
    whole = np.full(len(values), nobody, np.int64)
    merge.at(whole, graph.physical, values)
    return whole


def _sums(graph: Graph, content: Ints, snapshot: Ints, count: int) -> dict[str, Ints]:
    """Bytes and inodes per owner; what has an owner outside ``0 … count - 1`` is not counted."""
    out = {name: np.zeros(count, np.int64) for name in COLUMNS}
    for name, owner, size in (
        ("content_bytes", content, graph.blob_size),
        ("snapshot_bytes", snapshot, graph.snapshot_size),
        ("inodes", snapshot, graph.snapshot_inodes),
    ):
        mine = np.flatnonzero((owner >= 0) & (owner < count))
        np.add.at(out[name], owner[mine], size[mine])
    out["total_bytes"] = out["content_bytes"] + out["snapshot_bytes"]
    return out


def each_bytes(graph: Graph, now: int | None) -> dict[str, Ints]:
    """Freed bytes for every row of ``images``, deleted alone."""
    key = ("each", now)
    if key not in graph.cache:
        count = int(graph.start[IMAGE + 1])
        graph.cache[key] = group_bytes(graph, np.arange(count), count, now)
    return graph.cache[key]


def group_bytes(graph: Graph, group: Ints, count: int, now: int | None) -> dict[str, Ints]:
    """Freed bytes for each of ``count`` groups of image records, deleted alone; records of group -1 are never deleted.

    Every object gets the lowest and the highest group that reaches it; if they are equal, that group alone holds it.
    """
    if graph.images_kept_by_objects:
        return _one_by_one(graph, group, count, now)
    images = graph.part(IMAGE)
    live = graph.kept(now)[images]
    others = np.flatnonzero(graph.roots(now)[images.stop :]) + images.stop
    flat, leased = graph.flat, graph.roots(now)[graph.flat.lease]
    bounds = []
    for push, merge, nobody, everybody in (
        (push_min, np.minimum, _EVER, NONE),
        (push_max, np.maximum, NONE, _EVER),
    ):
        owner = np.append(np.where(group < 0, everybody, group), everybody)  # the last: no record between
        values = np.full(graph.count, nobody, np.int64)
        values[others] = everybody

        def settle(values: Ints, nobody: int = nobody, owner: Ints = owner) -> None:
            values[images] = np.where(live, owner[:-1], nobody)

        settle(values)
        graph.spread(values, push, settle)
        merge.at(values, flat.target[leased], owner[flat.image[leased]])
        content = _per_blob(graph, values[graph.part(CONTENT)], merge, nobody)
        bounds.append((content, values[graph.part(SNAPSHOT)]))
    (low, low_snapshot), (high, high_snapshot) = bounds
    sole = np.where(low == high, low, NONE), np.where(low_snapshot == high_snapshot, low_snapshot, NONE)
    return _sums(graph, *sole, count)


def _one_by_one(graph: Graph, group: Ints, count: int, now: int | None) -> dict[str, Ints]:
    """If objects keep image records, one record may go with another, so each deletion is replayed."""
    out = {name: np.zeros(count, np.int64) for name in COLUMNS}
    before = graph.kept(now)
    for number in range(count):
        made = reclaim_rows(graph, np.flatnonzero(group == number), now)
        gone = graph.lost(SNAPSHOT, before, made.after)
        out["snapshot_bytes"][number] = int(graph.snapshot_size[gone].sum())
        out["inodes"][number] = int(graph.snapshot_inodes[gone].sum())
        out["total_bytes"][number] = made.total_bytes - made.garbage_bytes
    out["content_bytes"] = out["total_bytes"] - out["snapshot_bytes"]
    return out


def each_table(inventory: Inventory, *, now: Any = None) -> pa.Table:
    """:func:`reclaim_each` for all rows of the table ``images``, as an Arrow table."""
    moment = nanoseconds(now)
    values = each_bytes(graph_of(inventory, moment), moment)
    return pa.table({name: pa.array(values[name]) for name in COLUMNS})
