"""Every byte of a store, counted once: held by images, by containers alone, or by neither."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from imgframe import schema
from imgframe.arrow.image_rows import nanoseconds
from imgframe.arrow.keys import NONE, Bools, Ints, numbers, one_array, plain_codes
from imgframe.inventory import Inventory
from imgframe.reclaiming.gc_labels import CONTAINER, CONTENT, IMAGE, INGEST, SNAPSHOT
from imgframe.reclaiming.graph import Graph, graph_of
from imgframe.reclaiming.held import categories
from imgframe.reclaiming.per_image import each_table
from imgframe.reclaiming.reclaim import reclaim_rows
from imgframe.reclaiming.stages import push_true

if TYPE_CHECKING:
    import pandas as pd


_PARTS = ("images", "containers", "orphans", "unaccounted", "total")


class StoreParts(NamedTuple):
    """The part that every object of the graph belongs to; a blob that several namespaces list counts in one row only."""

    counts: Bools
    images: Bools
    containers: Bools
    size: Ints
    known: Bools

    @property
    def orphans(self) -> Bools:
        """Neither held by an image nor by a container."""
        return self.counts & ~self.images & ~self.containers


def parts_of(graph: Graph, now: int | None) -> StoreParts:
    """The part of every blob, snapshot and ingest; images come first, then containers."""
    key = ("parts", now)
    if key not in graph.cache:
        reached = []
        for kind in (IMAGE, CONTAINER):
            marked = np.zeros(graph.count, np.bool_)
            marked[graph.part(kind)] = graph.roots(now)[graph.part(kind)]
            graph.spread(marked, push_true)
            marked[graph.part(CONTENT)] = graph.stays(CONTENT, marked)
            reached.append(marked)
        graph.cache[key] = StoreParts(
            _counted(graph, now), reached[0], reached[1] & ~reached[0], *_sizes(graph)
        )
    return graph.cache[key]


def _counted(graph: Graph, now: int | None) -> Bools:
    """One row of each physical blob (kept ones first, then by namespace), every snapshot and every ingest."""
    out = np.zeros(graph.count, np.bool_)
    out[graph.part(SNAPSHOT)] = True
    out[graph.part(INGEST)] = True
    spaces = plain_codes(graph.tables["blobs"]["namespace"])
    order = np.lexsort([spaces, ~graph.kept(now)[graph.part(CONTENT)]])[::-1]
    chosen = np.full(len(graph.physical), NONE, np.int64)
    chosen[graph.physical[order]] = order
    out[graph.start[CONTENT] + chosen[chosen >= 0]] = True
    return out


def _sizes(graph: Graph) -> tuple[Ints, Bools]:
    size, known = np.zeros(graph.count, np.int64), np.ones(graph.count, np.bool_)
    size[graph.part(CONTENT)] = graph.blob_size
    size[graph.part(SNAPSHOT)] = graph.snapshot_size
    known[graph.part(SNAPSHOT)] = graph.snapshot_size_known
    size[graph.part(INGEST)] = numbers(graph.tables["ingests"]["offset"])[0]
    return size, known


def breakdown(
    inventory: Inventory, measured: Mapping[str, int] | None = None, *, now: Any = None
) -> pd.DataFrame:
    """What takes the bytes of each node's store: five rows per node that add up.

    Columns: node, part, items, size [bytes], unknown (items whose size was not collected; they count 0). Parts: ``images`` (what
    an image record holds), ``containers`` (what only containers hold), ``orphans`` (see :func:`imgframe.orphans`),
    ``unaccounted``, and ``total``. ``measured`` gives by node what content and snapshots take on disk, as ``du`` reports it:
    that is then the node's total, and what no table explains is in the row ``unaccounted``, which may be negative where a file
    system compresses. Without it the total is the sum of what containerd reports, and unaccounted is 0.

    Example:
        >>> import imgframe as imf
        >>> from imgframe import schema
        >>> here = {"node": ["a"], "namespace": ["default"]}
        >>> inv = imf.Inventory({
        ...     "nodes": schema.table("nodes", {"node": ["a"]}),
        ...     "blobs": schema.table("blobs", {**here, "digest": ["sha256:aa"], "size": [700]})})
        >>> imf.reclaiming.breakdown(inv, {"a": 1000})[["part", "size"]].values.tolist()
        [['images', 0], ['containers', 0], ['orphans', 700], ['unaccounted', 300], ['total', 1000]]
    """
    return schema.to_frame(breakdown_table(inventory, measured, now=now))


def breakdown_table(
    inventory: Inventory, measured: Mapping[str, int] | None = None, *, now: Any = None
) -> pa.Table:
    """:func:`breakdown` as an Arrow table."""
    moment = nanoseconds(now)
    graph = graph_of(inventory, moment)
    parts = parts_of(graph, moment)
    nodes = inventory.arrow("nodes")["node"].to_pylist()
    rows: list[tuple[Any, ...]] = []
    for node, store in zip(nodes, graph.node_store.tolist(), strict=True):
        mine = graph.store == store
        sums = []
        for chosen in (parts.counts & parts.images, parts.counts & parts.containers, parts.orphans):
            here = chosen & mine
            sums.append((int(here.sum()), int(parts.size[here].sum()), int((here & ~parts.known).sum())))
        known = sum(size for _, size, _ in sums)
        total = (measured or {}).get(node, known)
        items, unknown = sum(part[0] for part in sums), sum(part[2] for part in sums)
        sums += [(0, total - known, 0), (items, total, unknown)]
        rows += [(node, part, *values) for part, values in zip(_PARTS, sums, strict=True)]
    node_, part_, *counts = map(list, zip(*rows, strict=True)) if rows else ([] for _ in range(5))
    names = ("items", "size", "unknown")
    integers = {name: pa.array(values, pa.int64()) for name, values in zip(names, counts, strict=True)}
    return pa.table({"node": categories(node_), "part": categories(part_), **integers})


def df(inventory: Inventory, *, now: Any = None) -> pa.Table:
    """The summary that ``imgframe df`` prints, as an Arrow table of three rows: images, containers, orphans.

    Columns: type; total (how many); active (images that containers use by name or digest, containers that run or whose state
    is unknown, orphans that something still holds); size [bytes]; reclaimable [bytes]: what disappears when all inactive images
    are deleted, or all containers that do not run, or at the next collection; unknown (items of unknown size, which count 0).

    Example:
        >>> import imgframe as imf
        >>> imf.reclaiming.df(imf.Inventory({})).column_names
        ['type', 'total', 'active', 'size', 'reclaimable', 'unknown']
    """
    moment = nanoseconds(now)
    graph = graph_of(inventory, moment)
    parts = parts_of(graph, moment)
    images, containers = inventory.arrow("images"), inventory.arrow("containers")
    used = used_images(images)
    running = _not_stopped(containers)
    loose = parts.orphans & ~graph.kept(moment)
    freed = reclaim_rows(graph, np.flatnonzero(~used), moment)
    part = {"images": parts.images, "containers": parts.containers, "orphans": parts.orphans}
    counted = [parts.counts & chosen for chosen in part.values()]
    orphans = int(parts.orphans.sum())
    columns = {
        "total": [images.num_rows, containers.num_rows, orphans],
        "active": [int(used.sum()), int(running.sum()), orphans - int(loose.sum())],
        "size": [int(parts.size[mine].sum()) for mine in counted],
        "reclaimable": [
            freed.total_bytes - freed.garbage_bytes,
            _stopped(graph, ~running, moment),
            int(parts.size[loose].sum()),
        ],
        "unknown": [int((mine & ~parts.known).sum()) for mine in counted],
    }
    return pa.table(
        {
            "type": categories(list(part)),
            **{name: pa.array(values, pa.int64()) for name, values in columns.items()},
        }
    )


def used_images(images: pa.Table) -> Bools:
    """Images that a container uses by name or digest, and those of which this is unknown."""
    by_name = one_array(images["containers"]).fill_null(1).to_numpy() > 0
    by_digest = one_array(images["used_by_digest"]).fill_null(True).to_numpy(zero_copy_only=False)
    return by_name | by_digest.astype(np.bool_)


def _not_stopped(containers: pa.Table) -> Bools:
    status = one_array(containers["status"])
    idle = np.array(
        [word in {"stopped", "none", "created"} for word in status.dictionary.to_pylist()] + [False]
    )
    return ~idle[plain_codes(status)]


def _stopped(graph: Graph, chosen: Bools, now: int | None) -> int:
    """Bytes that disappear with these containers."""
    roots = graph.roots(now).copy()
    roots[graph.start[CONTAINER] + np.flatnonzero(chosen)] = False
    after, before = graph.mark(roots, None, now), graph.kept(now)
    sizes = (CONTENT, graph.blob_size), (SNAPSHOT, graph.snapshot_size)
    return sum(int(size[graph.lost(kind, before, after)].sum()) for kind, size in sizes)


def df_images(inventory: Inventory, *, now: Any = None) -> pa.Table:
    """What ``imgframe df -v`` prints for each image, as an Arrow table on the rows of ``images``.

    Columns: node, namespace, name, digest, shared_size, unique_size, content_present_size, unpacked_size, containers, and
    reclaimable_size: what deleting this record alone frees.

    Example:
        >>> import imgframe as imf
        >>> imf.reclaiming.df_images(imf.Inventory({})).num_rows
        0
    """
    names = ["node", "namespace", "name", "digest", "shared_size", "unique_size"]
    names += ["content_present_size", "unpacked_size", "containers"]
    alone = each_table(inventory, now=now)["total_bytes"]
    return inventory.arrow("images").select(names).append_column("reclaimable_size", alone)
