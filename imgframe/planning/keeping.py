"""What is kept although it was asked for, and why: pinned, used, unknown or changed records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from imgframe import schema
from imgframe.errors import MissingColumn

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory

KEY = ("node", "namespace", "name")


def records_of(images: pd.DataFrame, inventory: Inventory, needed_by: str) -> pd.DataFrame:
    """The inventory's records for the rows of a frame, in its order and each once, with ``asked_digest`` of the frame.

    ``digest`` is <NA> where the inventory has no such record. A frame without node or namespace is filled in where the
    inventory has just one.

    Raises:
        MissingColumn: the frame has no name, or no node or namespace where the inventory has several.
    """
    asked = images.copy(deep=False)
    own = inventory.images
    for column in KEY:
        if column not in asked.columns:
            values: Any = own[column].dropna().unique() if column != "name" else []
            if len(values) != 1:
                raise MissingColumn(column, needed_by, images.columns)
            asked[column] = values[0]
    asked["asked_digest"] = asked["digest"].astype("object") if "digest" in asked.columns else None
    asked = asked[[*KEY, "asked_digest"]].astype("object").drop_duplicates(list(KEY))
    own = own.astype(dict.fromkeys(KEY, "object"))
    return asked.merge(own, on=list(KEY), how="left", validate="one_to_one", sort=False)


def keep_reasons(
    records: pd.DataFrame, inventory: Inventory, *, keep_pinned: bool, keep_used: bool, keep_unknown: bool
) -> np.ndarray:
    """Per record why it is kept, None where it may go; the first reason that applies."""
    reasons: np.ndarray = np.full(len(records), None, dtype=object)

    def give(mask: Any, reason: str) -> None:
        chosen = np.asarray(mask, dtype=bool) & np.array([one is None for one in reasons], dtype=bool)
        reasons[chosen] = reason

    digest = records["digest"].astype("object")
    missing = digest.isna().to_numpy()
    asked = records["asked_digest"]
    moved = asked.notna().to_numpy() & ~missing & (asked.to_numpy() != digest.to_numpy())
    give(missing, "not in the inventory: nothing is known about it")
    give(moved, "changed since: the inventory has another digest under this name")
    if keep_pinned:
        give(_any_of_digest(records, inventory, "pinned"), "pinned")
    if keep_used:
        used = records["containers"].gt(0).fillna(False) | records["used_by_digest"].fillna(False)
        give(used, "in use by a container")
    if keep_unknown:
        known = records[["pinned", "used_by_digest", "containers"]].notna().all(axis=1).to_numpy()
        give(~known, "its use is unknown")
        give(_blind(records, inventory), "containers could not be read, so its use is unknown")
    return reasons


def _any_of_digest(records: pd.DataFrame, inventory: Inventory, column: str) -> np.ndarray:
    """Whether any record of the same digest in the same namespace has the flag: names of one image stand together."""
    images = inventory.images
    flagged = images[images[column].fillna(False).astype(bool)]
    keys = set(
        zip(*(flagged[name].astype("object") for name in ("node", "namespace", "digest")), strict=True)
    )
    return np.array(
        [
            key in keys
            for key in zip(*(records[name] for name in ("node", "namespace", "digest")), strict=True)
        ],
        dtype=bool,
    )


def _blind(records: pd.DataFrame, inventory: Inventory) -> np.ndarray:
    """Whether the containers of the record's namespace could not be listed."""
    errors = inventory.errors
    failed = errors[errors["stage"].isin(["containers", "connect"])]
    where = set(zip(failed["node"].astype("object"), failed["namespace"].astype("object"), strict=True))
    whole = {node for node, namespace in where if namespace is None or namespace != namespace}  # noqa: PLR0124 -- NaN
    return np.array(
        [
            (node, namespace) in where or node in whole
            for node, namespace in zip(records["node"], records["namespace"], strict=True)
        ],
        dtype=bool,
    )


def kept_frame(records: pd.DataFrame, reasons: np.ndarray) -> pd.DataFrame:
    """The kept records with their reasons, in the columns of ``Plan.kept``."""
    mask = np.array([one is not None for one in reasons], dtype=bool)
    kept = records.loc[mask, [*KEY, "digest"]].assign(reason=reasons[mask])
    return schema.plan_frame("kept", kept)
