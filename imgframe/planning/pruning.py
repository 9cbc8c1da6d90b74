"""The steps of a prune: what is asked for, less what is kept, with the bytes that each step adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imgframe import schema
from imgframe.errors import InputError
from imgframe.planning.choosing import choose, merge
from imgframe.planning.keeping import keep_reasons, kept_frame, records_of
from imgframe.reclaiming import Reclaim, reclaim, reclaim_marginal
from imgframe.reclaiming.candidates import candidate_holders

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory

HARM_HALF_LIFE_DAYS = 30.0
"""An image that was last touched so long ago does half the harm."""

ORDERS = ("harm", "oldest", "largest")


class Decided(NamedTuple):
    """Steps and kept records as frames, and what the steps free."""

    steps: pd.DataFrame
    kept: pd.DataFrame
    freed: Reclaim


def decide(
    images: pd.DataFrame, inventory: Inventory, keep: dict[str, bool], reason: str = "asked for"
) -> Decided:
    """Which of the rows are deleted, which are kept and why, and the exact bytes; ``keep``: the three rules by name."""
    records = records_of(images, inventory, "prune")
    reasons = keep_reasons(records, inventory, **keep)
    going = records[np.array([one is None for one in reasons], dtype=bool)].reset_index(drop=True)
    return Decided(
        delete_steps(going, inventory, reason), kept_frame(records, reasons), reclaim(inventory, going)
    )


def delete_steps(going: pd.DataFrame, inventory: Inventory, reason: str) -> pd.DataFrame:
    """One delete step per record, in the order given; ``predicted_bytes`` is what the step adds to those before it."""
    marginal = reclaim_marginal(inventory, going)
    others = _other_names(going, inventory)
    words = [
        reason if not names else f"{reason}; frees nothing while {_listed(names)} also name it"
        for names in others
    ]
    return schema.plan_frame(
        "steps",
        {
            "step": np.arange(len(going)),
            "action": ["delete"] * len(going),
            **{
                name: going[name]
                for name in (
                    "node",
                    "namespace",
                    "name",
                    "digest",
                    "media_type",
                    "target_size",
                    "record_labels",
                )
            },
            "reason": words,
            "predicted_bytes": marginal["total_bytes"],
        },
    )


def _other_names(going: pd.DataFrame, inventory: Inventory) -> list[list[str]]:
    """Per step the names that keep its digest because they are not among the steps (the CRI gives an image three)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    asked = set(zip(*(going[name] for name in ("node", "namespace", "name")), strict=True))
    images = inventory.arrow("images").select(["node", "namespace", "digest", "name"])
    digests = pa.array(going["digest"].unique().tolist(), pa.string())
    images = images.filter(pc.is_in(images["digest"].cast(pa.string()), digests))
    names: dict[tuple[Any, ...], list[str]] = {}
    for node, namespace, digest, name in zip(
        *(images[one].to_pylist() for one in images.column_names), strict=True
    ):
        if (node, namespace, name) not in asked:
            names.setdefault((node, namespace, digest), []).append(name)
    keys = zip(*(going[name] for name in ("node", "namespace", "digest")), strict=True)
    return [names.get(key, []) for key in keys]


def _listed(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def decide_to(
    inventory: Inventory,
    target: int | str,
    candidates: pd.DataFrame | None,
    order: Any,
    keep: dict[str, bool],
) -> Decided:
    """The least harmful records whose deletion frees enough on each node.

    ``target``: bytes to free on each node that has candidates, or ``"80%"``: as many as bring the file system of each node
    down to that share.
    """
    import pandas as pd

    asked = inventory.images if candidates is None else candidates
    records = records_of(asked, inventory, "prune_to")
    reasons = keep_reasons(
        records, inventory, **{"keep_pinned": True, "keep_used": True, "keep_unknown": True, **keep}
    )
    free = records[np.array([one is None for one in reasons], dtype=bool)].reset_index(drop=True)
    parts = [
        _least(part.reset_index(drop=True), inventory, _bytes_to_free(inventory, str(node), target), order)
        for node, part in free.groupby("node", sort=True)
    ]
    chosen = pd.concat(parts, ignore_index=True) if parts else free
    goal = f"to free {target} bytes" if isinstance(target, int) else f"to bring the disk to {target}"
    return Decided(
        delete_steps(chosen, inventory, goal), kept_frame(records, reasons), reclaim(inventory, chosen)
    )


def _bytes_to_free(inventory: Inventory, node: str, target: int | str) -> int:
    if isinstance(target, int) and not isinstance(target, bool):
        if target < 0:
            raise InputError(
                f"target {target} is negative; expected bytes to free, or a share of the disk such as '80%'"
            )
        return target
    text = str(target).strip()
    if (
        not text.endswith("%")
        or not text[:-1].replace(".", "", 1).isdigit()
        or not 0 <= float(text[:-1]) <= 100
    ):
        raise InputError(f"target {target!r} is neither bytes to free nor a share of the disk such as '80%'")
    for row in inventory.arrow("nodes").select(["node", "disk_total", "disk_free"]).to_pylist():
        if row["node"] == node:
            if row["disk_total"] is None or row["disk_free"] is None:
                raise InputError(
                    f"node {node!r} does not say how large its disk is; give bytes to free instead of {target!r}"
                )
            return max(
                int(row["disk_total"] - row["disk_free"] - row["disk_total"] * float(text[:-1]) / 100), 0
            )
    raise InputError(f"node {node!r} is not in the inventory's table of nodes")


def _least(records: pd.DataFrame, inventory: Inventory, target: int, order: Any) -> pd.DataFrame:
    """The chosen records of one node, cheapest per byte first; all names of one digest in a namespace go together."""
    unit = records.groupby(["namespace", "digest"], sort=False).ngroup().to_numpy()
    units = int(unit.max()) + 1 if len(unit) else 0
    size, start, holder = candidate_holders(inventory, records, unit)
    sharing = merge(size, start, holder, units)
    cost = _costs(records, unit, units, order)
    age = np.full(units, np.inf)
    np.minimum.at(age, unit, _ages(records) * -1)
    alone = np.zeros(units)
    np.add.at(alone, sharing.unit, np.repeat(sharing.size, np.diff(sharing.start)))
    chosen = choose(
        sharing, cost, target, (np.argsort(age, kind="stable"), np.argsort(-alone, kind="stable"))
    )
    if isinstance(order, str) and order != "harm":
        chosen = _plain(sharing, target, np.argsort(age if order == "oldest" else -alone, kind="stable"))
    return records[chosen[unit]]


def _plain(sharing: Any, target: int, order: np.ndarray) -> np.ndarray:
    """As a simple tool would: one after the other until it is enough."""
    chosen = np.zeros(sharing.units, dtype=bool)
    for one in order:
        if sharing.freed(chosen) >= target:
            break
        chosen[one] = True
    return chosen


def _ages(records: pd.DataFrame) -> np.ndarray:
    """Days since each record last changed, against the newest of all; unknown counts as new."""
    times = records["updated_at"].fillna(records["created_at"])
    newest = times.max()
    return np.asarray(((newest - times).dt.total_seconds() / 86_400).fillna(0.0).to_numpy(dtype=float))


def _costs(records: pd.DataFrame, unit: np.ndarray, units: int, order: Any) -> np.ndarray:
    """The harm of giving each unit up: the bytes to pull again, less for what has not been touched for long."""
    cost = np.zeros(units)
    if not isinstance(order, str):
        if len(order) != len(records) and not hasattr(order, "reindex"):
            raise InputError(
                f"order has {len(order)} costs for {len(records)} candidates; give one of {', '.join(ORDERS)}, or a column"
            )
        values = np.asarray(order, dtype=float)[: len(records)]
    elif order in records.columns:
        values = records[order].astype("Float64").fillna(0).to_numpy(dtype=float)
    elif order in ORDERS:
        pull = (
            records["content_size"]
            .astype("Float64")
            .fillna(records["target_size"])
            .fillna(0)
            .to_numpy(dtype=float)
        )
        values = pull * (0.1 + 0.5 ** (_ages(records) / HARM_HALF_LIFE_DAYS))
    else:
        raise InputError(
            f"order {order!r} is unknown; expected one of {', '.join(ORDERS)} or a column of costs"
        )
    np.maximum.at(cost, unit, values)
    return cost
