"""Every byte of a store in one place: held by images, by containers alone, or an orphan, with the reason and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from imgframe import schema
from imgframe.arrow.image_rows import nanoseconds
from imgframe.arrow.keys import NONE, Bools, Ints, numbers, one_array, plain_codes
from imgframe.inventory import Inventory
from imgframe.reclaiming.gc_labels import CONTAINER, CONTENT, IMAGE, INGEST, LEASE, SNAPSHOT
from imgframe.reclaiming.graph import Graph, graph_of
from imgframe.reclaiming.holders import holder_names, witnesses
from imgframe.reclaiming.per_image import each_table
from imgframe.reclaiming.reclaim import kept_blobs, reclaim_rows

if TYPE_CHECKING:
    import pandas as pd

ACTIONS = {
    "live lease": "ends with the lease",
    "expired lease": "goes at the next collection",
    "gc.root label": "stays until the label containerd.io/gc.root is removed",
    "buildkit namespace": "buildctl prune",
    "moby namespace": "docker system prune",
    "unfinished write": "goes 24 h after its start, or with its lease",
    "expired write": "goes at the next collection",
    "snapshot nobody refers to": "goes at the next collection",
    "blob without reference": "goes at the next collection",
}
"""What becomes of an orphan, by reason."""
_TABLE = {CONTENT: ("blobs", "digest"), SNAPSHOT: ("snapshots", "key"), INGEST: ("ingests", "ref")}
_WORD = {CONTENT: "content", SNAPSHOT: "snapshot", INGEST: "ingest"}


class StoreParts(NamedTuple):
    """For every number of the graph the part it belongs to; only one row of a blob that several namespaces list counts."""

    counts: Bools
    images: Bools
    containers: Bools
    size: Ints
    known: Bools

    @property
    def orphans(self) -> Bools:
        """Neither held by an image nor by a container."""
        return self.counts & ~self.images & ~self.containers


def _mark(values: Bools, source: Ints, target: Ints) -> None:
    values[target[values[source]]] = True


def parts_of(graph: Graph, now: int | None) -> StoreParts:
    """The part of every blob, snapshot and ingest; images come first, then containers."""
    key = ("parts", now)
    if key not in graph.cache:
        reached = []
        for kind in (IMAGE, CONTAINER):
            marked = np.zeros(graph.count, np.bool_)
            marked[graph.part(kind)] = graph.roots(now)[graph.part(kind)]
            graph.spread(marked, _mark)
            content = kept_blobs(graph, marked)[graph.physical]
            marked[graph.part(CONTENT)] = content
            reached.append(marked)
        graph.cache[key] = StoreParts(
            _counted(graph, now), reached[0], reached[1] & ~reached[0], *_sizes(graph)
        )
    return graph.cache[key]


def _counted(graph: Graph, now: int | None) -> Bools:
    """One row per physical blob (kept ones first, then by namespace), every snapshot, every ingest."""
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


def orphans(inventory: Inventory, *, now: Any = None) -> pd.DataFrame:
    """What neither an image nor a container holds, each with its reason, its age and what becomes of it.

    Columns: node, namespace, kind (content, snapshot, ingest), snapshotter, key, size [bytes; <NA>: not collected], reason (a key
    of ``reclaiming.ACTIONS``), holder (the lease that holds or held it), created_at, age [s, at the collection], action. A blob
    that several namespaces list stands once.

    Example:
        >>> import imgframe as imf
        >>> from imgframe import schema
        >>> blobs = {"node": ["a"], "namespace": ["default"], "digest": ["sha256:aa"], "size": [700]}
        >>> imf.orphans(imf.Inventory({"blobs": schema.table("blobs", blobs)}))["reason"].tolist()
        ['blob without reference']
    """
    return schema.to_frame(orphans_table(inventory, now=now))


def orphans_table(inventory: Inventory, *, now: Any = None) -> pa.Table:
    """:func:`orphans` as an Arrow table."""
    graph, moment = graph_of(inventory), nanoseconds(now)
    parts = parts_of(graph, moment)
    root, _ = witnesses(graph, np.empty(0, np.int64), moment)
    leased = _reached_by_expired(graph, moment)
    made = [
        _orphans(graph, kind, np.flatnonzero(parts.orphans[graph.part(kind)]), root, leased, moment)
        for kind in (CONTENT, SNAPSHOT, INGEST)
    ]
    return pa.concat_tables(made).unify_dictionaries()


def _reached_by_expired(graph: Graph, now: int | None) -> Ints:
    """For every object an expired lease that held it, or -1."""
    out = np.full(graph.count, NONE, np.int64)
    leases = np.arange(graph.start[LEASE], graph.start[LEASE + 1])
    expired = leases[~graph.roots(now)[leases]]
    out[expired] = expired

    def push(values: Ints, source: Ints, target: Ints) -> None:
        np.maximum.at(values, target, values[source])

    graph.spread(out, push)
    flat = np.isin(graph.flat.lease, expired)
    np.maximum.at(out, graph.flat.target[flat], graph.flat.lease[flat])
    return out


def _orphans(graph: Graph, kind: int, rows: Ints, root: Ints, leased: Ints, now: int | None) -> pa.Table:
    name, key = _TABLE[kind]
    taken = graph.tables[name].take(pa.array(rows))
    reasons, holders = _reasons(graph, kind, rows, root, leased, now)
    created = "started_at" if kind == INGEST else "created_at"
    when = one_array(taken[created])
    collected = graph.collected[graph.store[graph.start[kind] + rows]]
    born = when.cast(pa.int64())
    known = born.is_valid().to_numpy(zero_copy_only=False)
    age = (collected - born.fill_null(0).to_numpy()) // 1_000_000_000
    columns = {
        "node": taken["node"],
        "namespace": taken["namespace"],
        "kind": _words([_WORD[kind]] * len(rows)),
        "snapshotter": taken["snapshotter"] if kind == SNAPSHOT else _words([None] * len(rows)),
        "key": taken[key],
        "size": taken["offset" if kind == INGEST else "size"],
        "reason": _words(reasons),
        "holder": _words(holders),
        "created_at": when,
        "age": pa.array(age, mask=~known),
        "action": _words([ACTIONS[reason] for reason in reasons]),
    }
    return pa.table(columns)


def _words(values: list[Any]) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode().cast(schema.CATEGORY)


def _reasons(
    graph: Graph, kind: int, rows: Ints, root: Ints, leased: Ints, now: int | None
) -> tuple[list[str], list[str | None]]:
    numbers_ = graph.start[kind] + rows
    kept = graph.kept(now)[numbers_]
    kinds, names = holder_names(graph, root[numbers_])
    _, expired = holder_names(graph, leased[numbers_])
    spaces = one_array(graph.tables[_TABLE[kind][0]]["namespace"]).take(pa.array(rows)).to_pylist()
    out: list[str] = []
    holders: list[str | None] = []
    for at, space in enumerate(spaces):
        holder = names[at] if kinds[at] == "lease" else None
        if kind == INGEST:
            reason = "unfinished write" if kept[at] else "expired write"
        elif not kept[at]:
            reason = "snapshot nobody refers to" if kind == SNAPSHOT else "blob without reference"
        elif space in {"buildkit", "moby"}:
            reason = f"{space} namespace"
        else:
            reason = "live lease" if kinds[at] == "lease" else "gc.root label"
        if not kept[at] and expired[at] and kind != INGEST:
            reason = "expired lease"
        out.append(reason)
        holders.append(holder or (expired[at] or None))
    return out, holders


def breakdown(
    inventory: Inventory, measured: Mapping[str, int] | None = None, *, now: Any = None
) -> pd.DataFrame:
    """Where the bytes of each node's store are: five rows per node that add up.

    Columns: node, part, items, size [bytes], unknown (items whose size was not collected; they count 0). Parts: ``images`` (what
    an image record holds), ``containers`` (what only containers hold), ``orphans`` (see :func:`orphans`), ``unaccounted``, and
    ``total``. ``measured`` gives for nodes what their content and snapshots take on disk, as ``du`` says: the total of such a
    node is that, and what no table explains is in the row ``unaccounted``, which may be negative where a file system
    compresses; without it the total is the sum of what containerd reports and unaccounted is 0.

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
    graph, moment = graph_of(inventory), nanoseconds(now)
    parts = parts_of(graph, moment)
    nodes = inventory.arrow("nodes")["node"].to_pylist()
    place = _store_of(graph)
    rows: dict[str, list[Any]] = {name: [] for name in ("node", "part", "items", "size", "unknown")}
    for node in nodes:
        mine = graph.store == place[node] if node in place else np.zeros(graph.count, np.bool_)
        sums = []
        for chosen in (parts.counts & parts.images, parts.counts & parts.containers, parts.orphans):
            here = chosen & mine
            sums.append((int(here.sum()), int(parts.size[here].sum()), int((here & ~parts.known).sum())))
        known = sum(size for _, size, _ in sums)
        total = (measured or {}).get(node, known)
        items, unknown = sum(part[0] for part in sums), sum(part[2] for part in sums)
        sums += [(0, total - known, 0), (items, total, unknown)]
        for part, values in zip(
            ("images", "containers", "orphans", "unaccounted", "total"), sums, strict=True
        ):
            for name, value in zip(rows, (node, part, *values), strict=True):
                rows[name].append(value)
    return pa.table(
        {
            name: _words(values) if name in {"node", "part"} else pa.array(values, pa.int64())
            for name, values in rows.items()
        }
    )


def _store_of(graph: Graph) -> dict[str, int]:
    """The number of each node's store, for nodes that hold anything."""
    out: dict[str, int] = {}
    for kind, name in ((IMAGE, "images"), (CONTENT, "blobs"), (SNAPSHOT, "snapshots"), (INGEST, "ingests")):
        column = one_array(graph.tables[name]["node"])
        codes = plain_codes(column)
        _, first = np.unique(codes, return_index=True)
        for row in first.tolist():
            if codes[row] >= 0:
                out[column.dictionary[int(codes[row])].as_py()] = int(graph.store[graph.start[kind] + row])
    return out


def df(inventory: Inventory, *, now: Any = None) -> pa.Table:
    """The summary that ``imgframe df`` prints, as an Arrow table of three rows: images, containers, orphans.

    Columns: type; total (how many); active (images that containers use by name or digest, containers that run or whose state
    is not known, orphans that something still holds); size [bytes]; reclaimable [bytes]: what disappears when all images that
    are not active are deleted, or all containers that do not run, or at the next collection; unknown (items of unknown size,
    which count 0).

    Example:
        >>> import imgframe as imf
        >>> imf.reclaiming.df(imf.Inventory({})).column_names
        ['type', 'total', 'active', 'size', 'reclaimable', 'unknown']
    """
    graph, moment = graph_of(inventory), nanoseconds(now)
    parts = parts_of(graph, moment)
    images, containers = inventory.arrow("images"), inventory.arrow("containers")
    used = used_images(images)
    running = _not_stopped(containers)
    loose = parts.orphans & ~graph.kept(moment)
    freed = reclaim_rows(graph, np.flatnonzero(~used), moment)
    rows = [
        ("images", images.num_rows, int(used.sum()), parts.images, freed.total_bytes - freed.garbage_bytes),
        (
            "containers",
            containers.num_rows,
            int(running.sum()),
            parts.containers,
            _stopped(graph, ~running, moment),
        ),
        (
            "orphans",
            int(parts.orphans.sum()),
            int((parts.orphans & ~loose).sum()),
            parts.orphans,
            int(parts.size[loose].sum()),
        ),
    ]
    counted = [parts.counts & row[3] for row in rows]
    return pa.table(
        {
            "type": _words([row[0] for row in rows]),
            "total": pa.array([row[1] for row in rows], pa.int64()),
            "active": pa.array([row[2] for row in rows], pa.int64()),
            "size": pa.array([int(parts.size[mine].sum()) for mine in counted], pa.int64()),
            "reclaimable": pa.array([row[4] for row in rows], pa.int64()),
            "unknown": pa.array([int((mine & ~parts.known).sum()) for mine in counted], pa.int64()),
        }
    )


def used_images(images: pa.Table) -> Bools:
    """Images that a container uses by name or digest, and those of which that is not known."""
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
    """Bytes that disappear with containers."""
    roots = graph.roots(now).copy()
    roots[graph.start[CONTAINER] + np.flatnonzero(chosen)] = False
    after, before = graph.mark(roots, None, now), graph.kept(now)
    blobs = kept_blobs(graph, before) & ~kept_blobs(graph, after)
    snapshots = (before & ~after)[graph.part(SNAPSHOT)]
    return int(graph.blob_size[blobs].sum()) + int(graph.snapshot_size[snapshots].sum())


def df_images(inventory: Inventory, *, now: Any = None) -> pa.Table:
    """What ``imgframe df -v`` prints of each image, as an Arrow table on the rows of ``images``.

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
