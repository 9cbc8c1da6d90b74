"""The image records of an inventory that the rows of a frame refer to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from imgframe import schema
from imgframe.arrow.keys import Ints, find, one_array, plain_codes, scopes, unify
from imgframe.errors import InputError, MissingColumn

_KEY = ("node", "namespace", "name")


def as_table(images: Any, needed_by: str = "reclaim") -> pa.Table:
    """A frame or an Arrow table of images as an Arrow table with the key columns as dictionaries."""
    if isinstance(images, pa.Table):
        return images
    names = [name for name in _KEY if name in images.columns]
    if "name" not in names:
        raise MissingColumn("name", needed_by, images.columns)
    return schema.from_frame("images", images[names]).select(names)


def rows_of(own: pa.Table, images: Any, needed_by: str = "reclaim") -> Ints:
    """The row of the table ``images`` (``own``) for each row of a frame, by node, namespace and name; -1: no such record.

    A frame without node or namespace means the only one of the inventory.

    Raises:
        MissingColumn: the frame has no name, or lacks a node or namespace of which the inventory has several.
    """
    asked = filled(as_table(images, needed_by), own, needed_by)
    same = _at_their_place(own, images, asked)
    if same is not None:
        return same
    (scope, wanted), _ = scopes([own, asked])
    (name, asked_name), words = unify([own["name"], asked["name"]])
    return find(scope, name, wanted, asked_name, len(words))


def _at_their_place(own: pa.Table, images: Any, asked: pa.Table) -> Ints | None:
    """The index of the frame as row numbers, if those are its records: a slice of ``inventory.images``."""
    index = getattr(images, "index", None)
    if index is None or not len(index) or index.dtype.kind != "i":
        return None
    rows = index.to_numpy().astype(np.int64)
    if rows.min() < 0 or rows.max() >= own.num_rows:
        return None
    for name in _KEY:
        mine, theirs = one_array(own[name]), one_array(asked[name])
        if not mine.dictionary.equals(theirs.dictionary):
            return None
        if not np.array_equal(plain_codes(mine)[rows], plain_codes(theirs)):
            return None
    return rows


def filled(asked: pa.Table, own: pa.Table, needed_by: str) -> pa.Table:
    """The table with a node and a namespace in every row: where it has none, the only one of the inventory.

    Raises:
        MissingColumn: it lacks a node or namespace of which the inventory has several.
    """
    for name in ("namespace", "node"):
        if name in asked.column_names:
            continue
        words = one_array(own[name]).dictionary
        if len(words) > 1:
            raise MissingColumn(name, needed_by, asked.column_names)
        zeros = np.zeros(asked.num_rows, np.int32)
        one = words if len(words) else pa.array([""], pa.string())
        asked = asked.append_column(name, pa.DictionaryArray.from_arrays(pa.array(zeros), one))
    return asked


def distinct(rows: Ints) -> Ints:
    """The rows that exist, each once."""
    return np.unique(rows[rows >= 0])


def nanoseconds(now: Any) -> int | None:
    """A datetime, a Timestamp or integer nanoseconds as nanoseconds since 1970; None stays None."""
    if now is None or isinstance(now, int):
        return now
    from imgframe.golang import time as gotime

    try:
        return gotime.to_nanoseconds(now)
    except (TypeError, AttributeError) as error:
        raise InputError(f"now={now!r} is not a moment; expected a datetime or nanoseconds") from error
