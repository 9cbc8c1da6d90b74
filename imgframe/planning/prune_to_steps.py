"""The steps that free just enough: a target per node, and the records that reach it with the least harm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe.arrow.keys import Ints, grouped, numbers, one_array, plain_codes
from imgframe.byte_sizes import read_bytes
from imgframe.errors import InputError
from imgframe.inventory import human_bytes
from imgframe.planning.decision import Decision
from imgframe.planning.knapsack import Sharing, choose, merge
from imgframe.planning.prune_steps import delete_steps
from imgframe.planning.requested import RequestedRecords
from imgframe.planning.retention import Reasons, free, kept_table
from imgframe.reclaiming import reclaim
from imgframe.reclaiming.candidates import candidate_holders

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory

HARM_HALF_LIFE_DAYS = 30.0
"""Deleting an image whose record last changed so long ago does half the harm."""

ORDERS = ("harm", "oldest", "largest")
_DAY = 86_400 * 10**9


def decide_prune_to(
    records: RequestedRecords,
    reasons: Reasons,
    inventory: Inventory,
    target: int | str,
    candidates: pd.DataFrame,
    order: Any,
) -> Decision:
    """Delete the least harmful of the records that may go, until enough is freed on each node.

    ``target``: bytes to free on each node that has candidates (``"10GB"`` or a number), or ``"80%"``: as many as bring the
    file system of each node down to that share. ``candidates``: the frame that the records come from, of which ``order`` may name a column.

    Raises:
        InputError: a target that is neither, or a node of unknown disk size; an unknown order.
    """
    going = records.only(free(reasons))
    order = order if isinstance(order, str) else np.asarray(order, dtype=float)
    node = one_array(going.asked["node"])
    (by_node, bounds), names = grouped(plain_codes(node), len(node.dictionary)), node.dictionary.to_pylist()
    parts = [by_node[bounds[code] : bounds[code + 1]] for code in range(len(names))]
    unit = np.zeros(len(going), np.int64)
    images = going.images()[going.rows]
    for at in parts:
        unit[at] = _units(images[at])
    held, disks = candidate_holders(inventory, going.keys(), unit), _disks(inventory)
    chosen, why, notes, shortfall = [np.zeros(0, np.int64)], [np.zeros(0, object)], [], 0
    asked = set(one_array(records.asked["node"]).to_pylist())
    wanted = f"to bring the disk to {target}" if _is_share(target) else f"to free {target} bytes"
    wanted = f"to free {target}" if isinstance(target, str) and not _is_share(target) else wanted
    for name, at in zip(names, parts, strict=True):
        goal, freed = _bytes_to_free(disks, name, target), 0
        reason = wanted
        if name in held:
            mine, units = going.only(at), int(unit[at].max()) + 1
            sharing = merge(held[name].size, held[name].start, held[name].holder, units)
            least = _least(mine, unit[at], sharing, goal, costs(mine, candidates, order), order)
            freed = sharing.freed(np.isin(np.arange(units), unit[at][least]))
            if freed < goal:
                reason = f"all that may go, which is not enough {wanted}"
            chosen.append(at[least])
            why.append(np.full(len(chosen[-1]), reason, object))
        if name in asked and freed < goal:
            shortfall += goal - freed
            notes.append(
                f"{name}: not enough {wanted}: {human_bytes(freed)} can be freed, {human_bytes(goal - freed)} are missing"
            )
        elif name in asked and goal == 0:
            notes.append(f"{name}: nothing needs to go {wanted}")
    deleted = going.only(np.concatenate(chosen))
    return Decision(
        delete_steps(deleted, inventory, np.concatenate(why)),
        kept_table(records, reasons),
        reclaim(inventory, deleted.keys()),
        shortfall,
        tuple(notes),
    )


def _is_share(target: int | str) -> bool:
    return isinstance(target, str) and target.strip().endswith("%")


def _disks(inventory: Inventory) -> dict[str, tuple[int | None, int | None]]:
    columns = inventory.arrow("nodes").select(["node", "disk_total", "disk_free"])
    return {row["node"]: (row["disk_total"], row["disk_free"]) for row in columns.to_pylist()}


def _bytes_to_free(disks: dict[str, tuple[int | None, int | None]], node: str, target: int | str) -> int:
    if isinstance(target, int) and not isinstance(target, bool) and target < 0:
        raise InputError(
            f"target {target} is negative; expected bytes to free, or a share of the disk such as '80%'"
        )
    text = str(target).strip()
    number = text.removesuffix("%").strip()
    if not _is_share(target):
        try:
            return read_bytes(target)
        except ValueError:
            number = ""
    if not number.isascii() or not number.replace(".", "", 1).isdigit() or not 0 <= float(number) <= 100:
        raise InputError(
            f"target {target!r} is neither bytes to free such as '10GB' nor a share of the disk such as '80%'"
        )
    if node not in disks:
        raise InputError(f"node {node!r} is not in the inventory's table of nodes")
    total, left = disks[node]
    if total is None or left is None:
        raise InputError(
            f"the disk size of node {node!r} is unknown; give bytes to free instead of {target!r}"
        )
    return max(int(total - left - total * float(number) / 100), 0)


def _units(images: Ints) -> Ints:
    """The unit of each image of one node, numbered from 0 by first appearance: all names of a digest are one unit."""
    _, first, unit = np.unique(images, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first, kind="stable"), kind="stable")[unit]


def _least(
    records: RequestedRecords, unit: Ints, sharing: Sharing, target: int, cost: np.ndarray, order: Any
) -> np.ndarray:
    """Which records of one node to delete, cheapest per byte first; a unit is deleted as a whole."""
    harm = np.zeros(sharing.units)
    np.maximum.at(harm, unit, cost)
    age = np.full(sharing.units, np.inf)
    np.minimum.at(age, unit, -_ages(records))
    alone = np.zeros(sharing.units)
    np.add.at(alone, sharing.unit, np.repeat(sharing.size, np.diff(sharing.start)))
    oldest, largest = np.argsort(age, kind="stable"), np.argsort(-alone, kind="stable")
    if isinstance(order, str) and order in {"oldest", "largest"}:
        return _plain(sharing, target, oldest if order == "oldest" else largest)[unit]
    return choose(sharing, harm, target, (oldest, largest))[unit]


def _plain(sharing: Sharing, target: int, order: np.ndarray) -> np.ndarray:
    """The choice of a simple tool: one unit after the other until enough is freed."""
    chosen = np.zeros(sharing.units, dtype=bool)
    for one in order:
        if sharing.freed(chosen) >= target:
            break
        chosen[one] = True
    return chosen


def _ages(records: RequestedRecords) -> np.ndarray:
    """Days from the last change of each record to that of the newest; unknown counts as new."""
    times = pc.coalesce(records.column("updated_at"), records.column("created_at"))
    ns, known = numbers(times.cast(pa.int64()))
    newest = int(ns[known].max()) if known.any() else 0
    return np.where(known, newest - ns, 0) / _DAY


def costs(records: RequestedRecords, candidates: pd.DataFrame, order: Any) -> np.ndarray:
    """The harm of deleting each record: the bytes to pull again, discounted by the time since it last changed.

    Raises:
        InputError: an unknown order, a column that is not numeric, or costs of another length than the candidates.
    """
    if not isinstance(order, str):
        values = np.asarray(order, dtype=float)
        if len(values) != len(candidates):
            raise InputError(
                f"order has {len(values)} costs for {len(candidates)} candidates; give one of {', '.join(ORDERS)}, or a column"
            )
        if np.isnan(values).any():
            raise InputError("order has a cost that is not a number; give every candidate a number")
        return values[records.places]
    if order in candidates.columns or order in records.own.column_names:
        return _numbers(records, candidates, order)
    if order not in ORDERS:
        raise InputError(
            f"order {order!r} is unknown; expected one of {', '.join(ORDERS)} or a column of costs"
        )
    pull = numbers(pc.coalesce(records.column("content_size"), records.column("target_size")))[0]
    return pull * (0.1 + 0.5 ** (_ages(records) / HARM_HALF_LIFE_DAYS))


def _numbers(records: RequestedRecords, candidates: pd.DataFrame, order: str) -> np.ndarray:
    """A column as costs: the frame's own, else the inventory's; unknown costs 0."""
    import pandas as pd

    given = candidates[order].iloc[records.places] if order in candidates.columns else None
    values = pd.Series(records.column(order).to_pandas()) if given is None else given
    if not pd.api.types.is_numeric_dtype(values.dtype):
        raise InputError(f"order {order!r} is a column of type {values.dtype}; expected numbers")
    return np.asarray(values.astype("Float64").fillna(0).to_numpy(dtype=float))
