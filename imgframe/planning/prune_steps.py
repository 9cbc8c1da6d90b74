"""The steps of a prune: what was asked for without what is kept, with the bytes that each step frees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.arrow.keys import one_array
from imgframe.planning.decision import Decision
from imgframe.planning.requested import RequestedRecords
from imgframe.planning.retention import Reasons, free, kept_table
from imgframe.reclaiming import reclaim, reclaim_marginal

if TYPE_CHECKING:
    from imgframe.inventory import Inventory

Why = str | np.ndarray
"""A reason for all records, or one for each."""

_SHOWN = 3
"""How many other names of an image a reason lists."""


def decide_prune(
    records: RequestedRecords, reasons: Reasons, inventory: Inventory, why: Why = "asked for"
) -> Decision:
    """Delete steps for the records that may go, the others with the reasons to keep them, and the exact bytes.

    ``why``: the reason of the steps, one for all or one per record.
    """
    going = records.only(free(reasons))
    told = why if isinstance(why, str) else why[free(reasons)]
    return Decision(
        delete_steps(going, inventory, told), kept_table(records, reasons), reclaim(inventory, going.keys())
    )


def delete_steps(going: RequestedRecords, inventory: Inventory, why: Why) -> pa.Table:
    """One delete step per record, in the given order; ``predicted_bytes`` is what a step frees in addition to those before it."""
    count = len(going)
    return schema.plan_table(
        "steps",
        {
            "step": pa.array(np.arange(count)),
            "action": _one_word("delete", count),
            **going.columns(["digest", "media_type", "target_size", "record_labels"]),
            "reason": _reasons(going, why),
            "predicted_bytes": pa.array(reclaim_marginal(inventory, going.keys())["total_bytes"]),
        },
    )


def _one_word(word: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([word]))


def _reasons(going: RequestedRecords, why: Why) -> pa.StringArray:
    """The reason of each step, with the names that still refer to its digest after the plan (the CRI creates three)."""
    images = going.images()
    stays = np.ones(len(images), np.bool_)
    stays[going.rows] = False
    others = np.flatnonzero(stays & np.isin(images, np.unique(images[going.rows])))
    order = others[np.argsort(images[others], kind="stable")]
    kept, start = np.unique(images[order], return_index=True)
    names = one_array(going.own["name"])
    words = [""]
    for first, last in zip(start.tolist(), [*start.tolist(), len(order)][1:], strict=True):
        shown = ", ".join(names.take(pa.array(order[first : min(last, first + _SHOWN)])).to_pylist())
        more = f" and {last - first - _SHOWN} more" if last - first > _SHOWN else ""
        verb = "refers" if last - first == 1 else "refer"
        words.append(f"; frees nothing while {shown}{more} also {verb} to it")
    at = np.searchsorted(kept, images[going.rows])
    codes = np.where(np.append(kept, -1)[at] == images[going.rows], at + 1, 0)
    told = pa.scalar(why) if isinstance(why, str) else pa.array(why, pa.string())
    return pc.binary_join_element_wise(told, pa.array(words, pa.string()).take(pa.array(codes)), "")
