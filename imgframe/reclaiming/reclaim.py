"""What a deletion of images frees: the garbage collector's mark phase, replayed before it happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.arrow.image_rows import as_table, distinct, nanoseconds, rows_of
from imgframe.arrow.keys import Bools, Ints, numbers
from imgframe.inventory import Inventory, human_bytes
from imgframe.reclaiming.gc_labels import CONTENT, INGEST, SNAPSHOT
from imgframe.reclaiming.graph import Graph, graph_of
from imgframe.reclaiming.held import held_table

if TYPE_CHECKING:
    import pandas as pd

DELETED, GARBAGE = "deleted", "garbage"
"""Why something goes: the last image that held it is deleted; nothing held it even before."""
_SNAPSHOTS = ["node", "namespace", "snapshotter", "key", "size", "inodes"]
_FREED = {
    "blobs": (CONTENT, ["node", "digest", "size"]),
    "snapshots": (SNAPSHOT, _SNAPSHOTS),
    "unknown": (SNAPSHOT, _SNAPSHOTS),
    "ingests": (INGEST, ["node", "namespace", "ref", "offset"]),
}
"""The kind of object in each frame of what goes, and its columns."""
_UNREAD = ["node", "namespace", "stage", "message"]
_LISTS = ("connect", "images", "content", "snapshots", "containers", "sandboxes", "leases", "ingests")
_NO_GAPS = ("not_found", "broken_chain", "cycle")
"""Errors that leave a list complete: something asked for does not exist, or the list contradicts itself."""


@dataclass(frozen=True)
class Reclaim:
    """What disappears when images are deleted and the garbage collector has run.

    ``content_bytes`` and ``snapshot_bytes`` are exact sums of what leaves the store, ``ingest_bytes`` of unfinished writes that
    expired, ``inodes`` of the snapshots; ``total_bytes`` is the sum of the three byte counts. A collection also removes what
    nothing held before: ``garbage_bytes`` is how much of ``total_bytes`` that is, and the column ``reason`` of each frame tells
    the two apart. Only stores in which something is deleted are collected.

    Frames: ``blobs`` (node, digest, size, reason), ``snapshots`` (node, namespace, snapshotter, key, size, inodes, reason),
    ``ingests`` (node, namespace, ref, size), ``held`` (what the images refer to that stays: node, namespace, kind, snapshotter,
    key, size, holder_kind, holder, others), ``unknown`` (freed snapshots whose usage was not collected: they count 0),
    ``missing`` (rows that name no image record of the inventory) and ``unread`` (node, namespace, stage, message: lists of these
    stores that could not be read, so that what they list may hold what is said to go). :meth:`arrow` gives each as an Arrow table.

    Example:
        >>> import imgframe as imf
        >>> inv = imf.Inventory({})
        >>> imf.reclaim(inv, inv.images)
        <Reclaim: 0B: 0B in 0 blobs, 0B in 0 snapshots>
    """

    content_bytes: int
    snapshot_bytes: int
    ingest_bytes: int
    garbage_bytes: int
    inodes: int
    _graph: Graph = field(repr=False, compare=False)
    after: Bools = field(repr=False, compare=False)
    _removed: Ints = field(repr=False, compare=False)
    _touched: Bools = field(repr=False, compare=False)
    _now: int | None = field(repr=False, compare=False)
    _cache: dict[str, pa.Table] = field(repr=False, compare=False)

    @property
    def total_bytes(self) -> int:
        """All bytes that disappear."""
        return self.content_bytes + self.snapshot_bytes + self.ingest_bytes

    @cached_property
    def blobs(self) -> pd.DataFrame:
        """Blobs that leave the store: one that another namespace keeps is not among them."""
        return schema.to_frame(self.arrow("blobs"))

    @cached_property
    def snapshots(self) -> pd.DataFrame:
        """Snapshots that disappear."""
        return schema.to_frame(self.arrow("snapshots"))

    @cached_property
    def ingests(self) -> pd.DataFrame:
        """Unfinished writes that disappear because they or their leases expired."""
        return schema.to_frame(self.arrow("ingests"))

    @cached_property
    def held(self) -> pd.DataFrame:
        """What the images refer to that stays, with one holder of each; ``others``: there are more."""
        return schema.to_frame(self.arrow("held"))

    @cached_property
    def unknown(self) -> pd.DataFrame:
        """Freed snapshots whose usage was not collected; they count 0 bytes."""
        return schema.to_frame(self.arrow("unknown"))

    @cached_property
    def missing(self) -> pd.DataFrame:
        """Rows of the given images that name no record of the inventory."""
        return schema.to_frame(self.arrow("missing"))

    @cached_property
    def unread(self) -> pd.DataFrame:
        """Lists of these stores that could not be read: if there are any, the sums are upper bounds."""
        return schema.to_frame(self.arrow("unread"))

    def arrow(self, name: str) -> pa.Table:
        """One of the frames as an Arrow table, without pandas."""
        if name not in self._cache:
            self._cache[name] = self._make(name)
        return self._cache[name]

    def _make(self, name: str) -> pa.Table:
        if name == "held":
            return held_table(self._graph, self._removed, self.after, self._now)
        kind, columns = _FREED[name]
        gone, garbage = _freed(self._graph, kind, self.after, self._touched, self._now)
        rows = np.sort(np.concatenate([gone, garbage]))
        if name == "unknown":
            rows = rows[~self._graph.snapshot_size_known[rows]]
        taken = self._graph.table(kind).select(columns).take(pa.array(rows))
        if kind == INGEST:
            return taken.rename_columns({"offset": "size"})
        reasons = pa.array(np.isin(rows, garbage).astype(np.int32))
        return taken.append_column(
            "reason", pa.DictionaryArray.from_arrays(reasons, pa.array([DELETED, GARBAGE]))
        )

    def __repr__(self) -> str:
        blobs, snapshots = self.arrow("blobs").num_rows, self.arrow("snapshots").num_rows
        text = (
            f"<Reclaim: {human_bytes(self.total_bytes)}: {human_bytes(self.content_bytes)} in {blobs:,} "
            f"blob{'' if blobs == 1 else 's'}, {human_bytes(self.snapshot_bytes)} in {snapshots:,} "
            f"snapshot{'' if snapshots == 1 else 's'}"
        )
        if self.garbage_bytes:
            text += f"; {human_bytes(self.garbage_bytes)} of it is garbage already"
        if unknown := self.arrow("unknown").num_rows:
            text += f"; {unknown:,} of unknown size count 0"
        if self.arrow("unread").num_rows:
            text += "; at most, as not all of these stores could be read"
        return text + ">"


def reclaim(inventory: Inventory, images: Any, *, now: Any = None) -> Reclaim:
    """What disappears when the image records ``images`` are deleted and the garbage collector has run.

    ``images`` is a frame (or Arrow table) with the columns node, namespace and name; node and namespace may be omitted if the
    inventory has just one. ``now`` decides which leases and image records have expired; by default each node's own
    ``collected_at``. The rules are those of each node's containerd version; if the version is unknown, everything that some
    version keeps is kept. Unknown sizes count 0 and are listed in ``unknown``. An inventory of some namespaces knows only what
    those hold: content that they share with others is reported as freed although it stays. Collect all namespaces.

    Raises:
        MissingColumn: the frame does not say which records are meant.

    Example:
        >>> import imgframe as imf
        >>> from imgframe import schema
        >>> here = {"node": ["a"], "namespace": ["default"]}
        >>> inv = imf.Inventory({
        ...     "nodes": schema.table("nodes", {"node": ["a"], "containerd_version": ["2.1.9"]}),
        ...     "images": schema.table("images", {**here, "name": ["app:1"], "digest": ["sha256:aa"]}),
        ...     "blobs": schema.table("blobs", {**here, "digest": ["sha256:aa"], "size": [700]})})
        >>> imf.reclaim(inv, inv.images).total_bytes
        700
    """
    moment = nanoseconds(now)
    graph = graph_of(inventory, moment)
    asked = as_table(images)
    rows = rows_of(graph.tables["images"], images if asked is images or len(images) else asked)
    found = distinct(rows)
    nodes = graph.tables["images"]["node"].take(pa.array(found)).unique().to_pylist()
    unread = gaps(inventory.arrow("errors"))
    unread = unread.filter(_among(unread, "node", nodes)).select(_UNREAD)
    names = [name for name in ("node", "namespace", "name") if name in asked.column_names]
    missing = asked.select(names).take(pa.array(np.flatnonzero(rows < 0)))
    return reclaim_rows(graph, found, moment, {"missing": missing, "unread": unread})


def gaps(errors: pa.Table) -> pa.Table:
    """The rows of ``errors`` (columns stage and code) by which a list of a store is incomplete."""
    return errors.filter(pc.and_not(_among(errors, "stage", _LISTS), _among(errors, "code", _NO_GAPS)))


def _among(table: pa.Table, column: str, words: Sequence[str]) -> pa.ChunkedArray:
    return pc.is_in(table[column].cast(pa.string()), pa.array(words, pa.string()))


def reclaim_rows(
    graph: Graph, removed: Ints, now: int | None = None, gaps: dict[str, pa.Table] | None = None
) -> Reclaim:
    """:func:`reclaim` for rows of the table ``images``; ``gaps``: the tables ``missing`` and ``unread``, by default empty."""
    after = graph.mark(graph.roots(now).copy(), removed, now)
    touched = np.zeros(len(graph.collected), np.bool_)
    touched[graph.store[removed]] = True
    offset = numbers(graph.tables["ingests"]["offset"])[0]
    sizes = (CONTENT, graph.blob_size), (SNAPSHOT, graph.snapshot_size), (INGEST, offset)
    freed = {kind: _freed(graph, kind, after, touched, now) for kind, _ in sizes}
    gone, garbage = ([int(size[freed[kind][at]].sum()) for kind, size in sizes] for at in range(2))
    content, snapshots, ingests = (sum(pair) for pair in zip(gone, garbage, strict=True))
    if gaps is None:
        keys = graph.tables["images"].select(["node", "namespace", "name"])
        gaps = {"missing": keys.slice(0, 0), "unread": schema.empty("errors").select(_UNREAD)}
    return Reclaim(
        content,
        snapshots,
        ingests,
        garbage[0] + garbage[1] + ingests,
        sum(int(graph.snapshot_inodes[rows].sum()) for rows in freed[SNAPSHOT]),
        graph,
        after,
        removed,
        touched,
        now,
        gaps,
    )


def _freed(graph: Graph, kind: int, after: Bools, touched: Bools, now: int | None) -> tuple[Ints, Ints]:
    """Rows of one kind that go because of the deletion, and those that were garbage before it, in the stores touched."""
    key = ("garbage", kind, now)
    if key not in graph.cache:
        graph.cache[key] = graph.lost(kind, np.ones(graph.count, np.bool_), graph.kept(now))
    garbage = graph.cache[key]
    in_touched = touched[graph.store[graph.start[kind] + garbage]]
    return graph.lost(kind, graph.kept(now), after), garbage[in_touched]
