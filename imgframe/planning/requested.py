"""The image records that a frame refers to: row numbers in the inventory, each record once, in the order of the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from imgframe import schema
from imgframe.arrow.image_rows import filled, rows_of
from imgframe.arrow.keys import Bools, Ints, combined, one_array, plain_codes, unify
from imgframe.errors import MissingColumn

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory

KEY = ("node", "namespace", "name")


@dataclass(frozen=True, slots=True)
class RequestedRecords:
    """The image records that a frame refers to.

    Attributes:
        own: the table ``images`` of the inventory.
        asked: node, namespace, name and, if the frame has it, digest of each.
        rows: the row of each in ``own``; -1: the inventory has no such record.
        places: the row of the frame from which each comes.
    """

    own: pa.Table
    asked: pa.Table
    rows: Ints
    places: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, chosen: Bools | Ints) -> RequestedRecords:
        """Some of them, by a mask or by their numbers."""
        at = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        return RequestedRecords(self.own, self.asked.take(pa.array(at)), self.rows[at], self.places[at])

    def column(self, name: str) -> pa.Array:
        """A column of the inventory's images for these records, NA if it has no such record."""
        missing = self.rows < 0
        return one_array(self.own[name]).take(pa.array(self.rows, mask=missing if missing.any() else None))

    def columns(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Node, namespace and name as asked for, and the columns ``names`` of the inventory."""
        return {key: one_array(self.asked[key]) for key in KEY} | {name: self.column(name) for name in names}

    def keys(self) -> pa.Table:
        """Node, namespace and name, as :func:`imgframe.reclaim` needs them."""
        return self.asked.select(KEY)

    def moved(self) -> Bools:
        """Whether the frame names another digest than the inventory."""
        if "digest" not in self.asked.column_names:
            return np.zeros(len(self), np.bool_)
        (asked, own), _ = unify([self.asked["digest"], self.own["digest"]])
        own = np.append(own, -1)[self.rows]
        return (asked >= 0) & (own >= 0) & (asked != own)

    def images(self) -> Ints:
        """A number for each row of ``own``, the same for all names of one digest in a namespace of a node."""
        codes = [plain_codes(self.own[name]) for name in ("node", "namespace", "digest")]
        return combined(*codes, sizes=_sizes(self.own, ("node", "namespace", "digest")))


def records_of(images: pd.DataFrame, inventory: Inventory, needed_by: str) -> RequestedRecords:
    """The inventory's records for the rows of a frame, in its order and each once.

    Node and namespace may be missing if the inventory has just one.

    Raises:
        MissingColumn: the frame has no name, or no node or namespace where the inventory has several.
    """
    if "name" not in images.columns:
        raise MissingColumn("name", needed_by, images.columns)
    own = inventory.arrow("images")
    names = [name for name in (*KEY, "digest") if name in images.columns]
    asked = filled(schema.from_frame("images", images[names]).select(names), own, needed_by)
    codes = [plain_codes(asked[name]) for name in KEY]
    _, first = np.unique(combined(*codes, sizes=_sizes(asked, KEY)), return_index=True)
    places = np.arange(len(codes[0]))
    if len(first) < len(places):
        places = np.sort(first)
        asked = asked.take(pa.array(places))
    return RequestedRecords(own, asked, rows_of(own, asked, needed_by), places)


def _sizes(table: pa.Table, names: Sequence[str]) -> list[int]:
    return [len(one_array(table[name]).dictionary) for name in names]
