"""Snapshot chains: what a snapshot and all its parents take together.

Sums by pointer doubling: each round adds the row pointed at and points twice as far, so chains of 60 need six rounds over
all snapshots at once. Every chain ends at one of two extra rows, "whole" (a snapshot without parent) or "broken" (a missing
parent); one that has not ended after log2(n) rounds is a cycle. Rows are processed node by node, which keeps the steps of a
chain close together in memory.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.arrow.keys import (
    NONE,
    Bools,
    Ints,
    combined,
    find,
    int_column,
    numbers,
    one_array,
    plain_codes,
    stable_order,
    unify,
)
from imgframe.inventory import Inventory, memoised

_BLOCK = 1 << 17  # snapshots per block
_PACKED_BITS = 24  # depth below 2**24 and a sum of inodes below 2**39 travel in one number


@dataclass(frozen=True, slots=True)
class Chains:
    """The parent of each snapshot and the sums over its chain: arrays over the rows of the table ``snapshots``.

    ``parent`` is the row of the parent, -1 where there is none or it is ``missing``. ``size``, ``inodes`` and ``depth``
    are sums over the chain with an unknown size as 0; they mean nothing unless the chain is ``whole``. ``known_size`` and
    ``known_inodes`` say that the chain is whole and every size in it known. ``blocks`` are slices or row numbers of parts
    that no chain leaves, each small enough for the cache where a store is.
    """

    parent: Ints
    missing: Bools
    whole: Bools
    cycle: Bools
    size: Ints
    inodes: Ints
    depth: Ints
    known_size: Bools
    known_inodes: Bools
    blocks: list[Any]


@dataclass(frozen=True, slots=True)
class SnapshotTotals:
    """Columns of the table ``snapshots``, rows of the table ``errors``, and the chains they come from."""

    total_size: pa.Array
    total_inodes: pa.Array
    depth: pa.Array
    errors: pa.Table
    chains: Chains


def snapshot_totals(snapshots: pa.Table) -> SnapshotTotals:
    """The columns total_size, total_inodes and depth of the table ``snapshots`` from its other columns.

    The sums are those of Go's ``ResourceUsage``: the snapshot and all its parents. They are NA where the size of one of
    them is, and so is depth where a parent is missing or the chain is a cycle; each missing parent and each cycle has a
    row in errors (stage ``snapshots``, code ``broken_chain`` or ``cycle``).

    Example:
        >>> from imgframe import schema, usage
        >>> chain = schema.table("snapshots", {
        ...     "node": ["a"] * 3, "namespace": ["default"] * 3, "snapshotter": ["overlayfs"] * 3,
        ...     "key": ["base", "app", "lost"], "parent": ["", "base", "gone"],
        ...     "size": [100, 20, 3], "inodes": [10, 2, 1]})
        >>> totals = usage.snapshot_totals(chain)
        >>> totals.total_size.to_pylist(), totals.depth.to_pylist(), totals.errors["code"].to_pylist()
        ([100, 120, None], [0, 1, None], ['broken_chain'])
    """
    chains = chains_of(snapshots)
    return SnapshotTotals(
        int_column(chains.size, chains.known_size),
        int_column(chains.inodes, chains.known_inodes),
        int_column(chains.depth, chains.whole),
        _errors(snapshots, chains),
        chains,
    )


def chains_of(snapshots: pa.Table) -> Chains:
    """The chains of the table ``snapshots``, resolved within node, namespace and snapshotter."""
    scope = snapshot_scope(snapshots)
    (key, parent), words = unify([snapshots["key"], snapshots["parent"]])
    size, known_size = numbers(snapshots["size"])
    inodes, known_inodes = numbers(snapshots["inodes"])
    columns: list[Any] = [scope, key, parent, size, inodes, known_size, known_inodes]
    order = None
    if not (scope[1:] >= scope[:-1]).all():
        order = stable_order(scope)
        columns = [column[order] for column in columns]
    chains = _resolve(columns, code_of(words, ""), len(words))
    return chains if order is None else _back(chains, order)


@memoised
def chains_in(inventory: Inventory) -> Chains:
    """The chains of an inventory's snapshots."""
    return chains_of(inventory.arrow("snapshots"))


def snapshot_scope(snapshots: pa.Table) -> Ints:
    """Node, namespace and snapshotter of each row as one number."""
    columns = [one_array(snapshots[name]) for name in ("node", "namespace", "snapshotter")]
    telling = [column for column in columns if len(column.dictionary) > 1 or column.null_count]
    if not telling:
        return np.zeros(snapshots.num_rows, np.int64)
    return combined(*map(plain_codes, telling), sizes=[len(column.dictionary) for column in telling])


def code_of(words: pa.Array, word: str) -> int:
    """The code of a word; -2, which is no code, if it is not among the words."""
    place = pc.index(words, pa.scalar(word, words.type)).as_py() if len(words) else NONE
    return place if place >= 0 else -2


def _resolve(columns: list[Any], empty: int, words: int) -> Chains:
    scope, key, parent, size, inodes, known_size, known_inodes = columns
    has_parent = parent != empty  # NA is a parent that is never found
    rows = find(scope, key, scope, parent, words)
    rows[~has_parent] = NONE
    missing = has_parent & (rows < 0)
    bounds = block_bounds(scope)
    size, inodes, depth, end = climb_blocks(bounds, rows, missing, size, inodes)
    whole = end == len(rows)
    return Chains(
        rows,
        missing,
        whole,
        end < len(rows),
        size,
        inodes,
        depth,
        whole & ~_any_above(rows, ~known_size.astype(np.bool_)),
        whole & ~_any_above(rows, ~known_inodes.astype(np.bool_)),
        [slice(begin, end) for begin, end in itertools.pairwise(bounds)],
    )


def _back(chains: Chains, order: Ints) -> Chains:
    """The chains of sorted rows in the original order of the rows."""
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    parent = np.where(chains.parent < 0, NONE, order[chains.parent])
    moved: dict[str, Any] = {"parent": parent[back], "blocks": [order[block] for block in chains.blocks]}
    rest = {name: getattr(chains, name)[back] for name in Chains.__slots__ if name not in moved}
    return Chains(**moved, **rest)


def block_bounds(scope: Ints) -> list[int]:
    """Bounds of blocks of whole scopes, for rows grouped by scope: chains stay within a scope."""
    count = len(scope)
    changes = np.flatnonzero(scope[1:] != scope[:-1]) + 1
    at = np.searchsorted(changes, np.arange(_BLOCK, count, _BLOCK))
    cuts = np.unique(np.append(changes, count)[at])
    return [0, *cuts[cuts < count].tolist(), count]


def climb_blocks(
    bounds: list[int], parent: Ints, missing: Bools, size: Ints, inodes: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """:func:`climb` block by block: what fits in the cache is summed in a fraction of the time."""
    count = len(parent)
    total, nodes, depth, ends = (np.empty(count, np.int64) for _ in range(4))
    for begin, end in itertools.pairwise(bounds):
        here = slice(begin, end)
        local = np.where(parent[here] < 0, NONE, parent[here] - begin)
        total[here], nodes[here], depth[here], last = climb(local, missing[here], size[here], inodes[here])
        beyond = last - (end - begin)  # 0 whole, 1 broken
        ends[here] = np.where(beyond >= 0, count + beyond, last + begin)
    return total, nodes, depth, ends


def climb(parent: Ints, missing: Bools, size: Ints, inodes: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Sums of size and inodes over each chain, its depth, and its end: ``n`` whole, ``n + 1`` broken, else a cycle.

    ``parent`` holds row numbers, -1 for none; where ``missing``, the parent does not exist.
    """
    count = len(parent)
    up = np.append(np.where(missing, count + 1, np.where(parent < 0, count, parent)), [count, count + 1])
    sizes = np.append(size, [0, 0])
    packed = count < 1 << _PACKED_BITS and int(inodes.sum()) < 1 << (62 - _PACKED_BITS)
    others = np.append((inodes << _PACKED_BITS) + 1 if packed else np.ones(count, np.int64), [0, 0])
    nodes = None if packed else np.append(inodes, [0, 0])
    for _ in range(max(count, 2).bit_length() + 1):
        if up.size == 0 or int(up.min()) >= count:
            break
        sizes += sizes[up]
        others += others[up]
        if nodes is not None:
            nodes += nodes[up]
        up = up[up]
    total = others >> _PACKED_BITS if nodes is None else nodes
    depth = (others & ((1 << _PACKED_BITS) - 1) if packed else others) - 1
    return sizes[:count], total[:count], depth[:count], up[:count]


def _any_above(parent: Ints, flag: Bools) -> Bools:
    """Whether the row or one of its parents has the flag."""
    if not flag.any() or not (flag[parent] & (parent >= 0)).any():
        return flag  # no row has a flagged parent: usual where only active snapshots have no size
    count = len(parent)
    up = np.append(np.where(parent < 0, count, parent), count)
    out = np.append(flag, False)
    for _ in range(count.bit_length() + 1):
        out |= out[up]
        up = up[up]
    return out[:count]


def _errors(snapshots: pa.Table, chains: Chains) -> pa.Table:
    broken = np.flatnonzero(chains.missing)
    cycles = _cycles(chains)
    rows = np.concatenate([broken, [row for row, _ in cycles]]).astype(np.int64)
    if not len(rows):
        return schema.empty("errors")
    taken = snapshots.select(["node", "namespace", "snapshotter", "key", "parent"]).take(pa.array(rows))
    keys, snapshotters = taken["key"].to_pylist(), taken["snapshotter"].to_pylist()
    says = [
        f"snapshot {parent} does not exist: not found; it is the parent of {key}"
        for key, parent in zip(keys[: len(broken)], taken["parent"].to_pylist(), strict=False)
    ] + [
        f"the parents of snapshot {keys[len(broken) + n]} form a cycle of {length}"
        for n, (_, length) in enumerate(cycles)
    ]
    return schema.table(
        "errors",
        {
            "node": taken["node"],
            "namespace": taken["namespace"],
            "stage": ["snapshots"] * len(rows),
            "subject": [f"{s}/{k}" for s, k in zip(snapshotters, keys, strict=True)],
            "code": ["broken_chain"] * len(broken) + ["cycle"] * len(cycles),
            "message": says,
        },
    )


def _cycles(chains: Chains) -> list[tuple[int, int]]:
    """One row and the length of each cycle."""
    out: list[tuple[int, int]] = []
    seen: set[int] = set()
    for start in np.flatnonzero(chains.cycle).tolist():
        path: dict[int, int] = {}
        row = start
        while row not in path and row not in seen:
            path[row] = len(path)
            row = int(chains.parent[row])
        if row in path:
            members = [other for other, place in path.items() if place >= path[row]]
            out.append((min(members), len(members)))
        seen.update(path)
    return sorted(out)
