"""Orphans: what neither an image nor a container holds, with the reason and what removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from imgframe import schema
from imgframe.arrow.image_rows import nanoseconds
from imgframe.arrow.keys import NONE, Ints, one_array
from imgframe.inventory import Inventory
from imgframe.reclaiming.breakdown import parts_of
from imgframe.reclaiming.gc_labels import CONTENT, INGEST, LEASE, SNAPSHOT
from imgframe.reclaiming.graph import Graph, graph_of
from imgframe.reclaiming.held import KINDS, categories, holder_names, witnesses
from imgframe.reclaiming.object_index import KEYS
from imgframe.reclaiming.stages import push_max

if TYPE_CHECKING:
    import pandas as pd

_NEXT = "goes at the next collection"
ACTIONS = {
    "live lease": "ends with the lease",
    "expired lease": _NEXT,
    "sandbox": "ends with the sandbox",
    "gc.root label": "stays until the label containerd.io/gc.root is removed",
    "buildkit namespace": "buildctl prune",
    "moby namespace": "docker system prune",
    "unfinished write": "goes 24 h after its start, or with its lease",
    "expired write": _NEXT,
    "snapshot nobody refers to": _NEXT,
    "blob without reference": _NEXT,
}
"""What removes an orphan, by reason."""


def orphans(inventory: Inventory, *, now: Any = None) -> pd.DataFrame:
    """What neither an image nor a container holds, with the reason, the age, and what removes it.

    Columns: node, namespace, kind (content, snapshot, ingest), snapshotter, key, size [bytes; <NA>: not collected], reason (a key
    of ``reclaiming.ACTIONS``), holder (the lease that holds or held it, or the sandbox that does), created_at, age [s, at the
    collection], action. A blob that several namespaces list has one row.

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
    moment = nanoseconds(now)
    graph = graph_of(inventory, moment)
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
    graph.spread(out, push_max)
    flat = np.isin(graph.flat.lease, expired)
    np.maximum.at(out, graph.flat.target[flat], graph.flat.lease[flat])
    return out


def _orphans(graph: Graph, kind: int, rows: Ints, root: Ints, leased: Ints, now: int | None) -> pa.Table:
    taken = graph.table(kind).take(pa.array(rows))
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
        "kind": categories([KINDS[kind]] * len(rows)),
        "snapshotter": taken["snapshotter"] if kind == SNAPSHOT else categories([None] * len(rows)),
        "key": taken[KEYS[kind]],
        "size": taken["offset" if kind == INGEST else "size"],
        "reason": categories(reasons),
        "holder": categories(holders),
        "created_at": when,
        "age": pa.array(age, mask=~known),
        "action": categories([ACTIONS[reason] for reason in reasons]),
    }
    return pa.table(columns)


def _reasons(
    graph: Graph, kind: int, rows: Ints, root: Ints, leased: Ints, now: int | None
) -> tuple[list[str], list[str | None]]:
    numbers_ = graph.start[kind] + rows
    kept = graph.kept(now)[numbers_]
    kinds, names = holder_names(graph, root[numbers_])
    _, expired = holder_names(graph, leased[numbers_])
    spaces = one_array(graph.table(kind)["namespace"]).take(pa.array(rows)).to_pylist()
    out: list[str] = []
    holders: list[str | None] = []
    for at, space in enumerate(spaces):
        holder = names[at] if kinds[at] in {"lease", "sandbox"} else None
        if kind == INGEST:
            reason = "unfinished write" if kept[at] else "expired write"
        elif not kept[at]:
            reason = "snapshot nobody refers to" if kind == SNAPSHOT else "blob without reference"
        elif space in {"buildkit", "moby"}:
            reason = f"{space} namespace"
        else:
            reason = {"lease": "live lease", "sandbox": "sandbox"}.get(kinds[at], "gc.root label")
        if not kept[at] and expired[at] and kind != INGEST:
            reason = "expired lease"
        out.append(reason)
        holders.append(holder or (expired[at] or None))
    return out, holders
