"""Arrow tables, built column by column from rows of many nodes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np
import numpy.ma  # Arrow would import it during the collection: 12 ms
import pyarrow as pa

from imgframe import schema

Piece = list[Any] | tuple[Any, int]
"""Values of rows, or one value and a number of rows."""

_FLUSH = 200_000
_EARLIEST, _LATEST = -(1 << 63) + 1, (1 << 63) - 1


class TableBuilder:
    """Rows of the tables of an inventory.

    Columns are lists until a table has many rows; then they become Arrow arrays, which take less memory.

    Example:
        >>> from imgframe.collector.table_builder import TableBuilder
        >>> rows = TableBuilder()
        >>> rows.add("ingests", 2, node="a", namespace="default", ref=["x", "y"], offset=[1, 2])
        >>> rows.tables()["ingests"].num_rows
        2
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._columns: dict[str, dict[str, list[Piece]]] = {}
        self._chunks: dict[str, list[pa.Table]] = {}

    def add(self, table: str, count: int, /, **columns: Sequence[Any] | str | bool | float | None) -> None:
        """Append ``count`` rows to a table; a column is a list of that length, or one value for all rows.

        A missing column is NA. The lists are kept: do not modify them afterwards.
        """
        if not count:
            return
        own = self._columns.get(table)
        if own is None:
            own = self._columns[table] = {column: [] for column in schema.TABLES[table].names}
        for column, pieces in own.items():
            value = columns.pop(column, None)
            pieces.append(value if isinstance(value, list) else (value, count))
        if columns:
            raise KeyError(f"table {table!r} has no column {next(iter(columns))!r}")
        self._counts[table] = self._counts.get(table, 0) + count
        if self._counts[table] >= _FLUSH:
            self._flush(table)

    def extend(self, other: TableBuilder) -> None:
        """Move all rows of another builder here."""
        for table, chunks in other._chunks.items():
            self._flush(table)
            self._chunks.setdefault(table, []).extend(chunks)
        for table, columns in other._columns.items():
            own = self._columns.setdefault(table, columns)
            if own is not columns:
                for column, pieces in columns.items():
                    own[column].extend(pieces)
            self._counts[table] = self._counts.get(table, 0) + other._counts[table]
            if self._counts[table] >= _FLUSH:
                self._flush(table)
        other._counts, other._columns, other._chunks = {}, {}, {}

    def pack(self) -> None:
        """Convert all rows to Arrow now."""
        for table in list(self._columns):
            self._flush(table)

    def _flush(self, table: str) -> None:
        columns = self._columns.pop(table, None)
        if columns is not None:
            self._counts.pop(table)
            fields = schema.TABLES[table]
            arrays = [_array(fields.field(column).type, pieces) for column, pieces in columns.items()]
            self._chunks.setdefault(table, []).append(pa.Table.from_arrays(arrays, schema=fields))

    def tables(self) -> dict[str, pa.Table]:
        """Every table with rows, with sorted dictionaries; empties the builder."""
        self.pack()
        done = {table: schema.concat(table, chunks) for table, chunks in self._chunks.items()}
        self._chunks = {}
        return done


def _array(kind: pa.DataType, pieces: list[Piece]) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return _dictionary(pieces)
    values = _joined(pieces)
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, OverflowError):
        return pa.array([None if v is None or not _EARLIEST <= v <= _LATEST else v for v in values], kind)


def _joined(pieces: list[Piece]) -> list[Any]:
    if len(pieces) == 1 and isinstance(pieces[0], list):
        return pieces[0]
    values: list[Any] = []
    for piece in pieces:
        values.extend(piece if isinstance(piece, list) else repeat(*piece))
    return values


def _dictionary(pieces: list[Piece]) -> pa.DictionaryArray:
    """Text with a sorted dictionary; for columns of this size Python dicts are faster than Arrow."""
    if len(pieces) == 1 and isinstance(pieces[0], tuple):
        value, count = pieces[0]
        codes = pa.nulls(count, pa.int32()) if value is None else pa.array(np.zeros(count, np.int32))
        return pa.DictionaryArray.from_arrays(codes, pa.array([] if value is None else [value], pa.string()))
    values = _joined(pieces)
    distinct = dict.fromkeys(values)
    distinct.pop(None, None)
    words = sorted(distinct)
    place = dict(zip(words, range(len(words)), strict=True))
    return pa.DictionaryArray.from_arrays(
        pa.array(list(map(place.get, values)), pa.int32()), pa.array(words, pa.string())
    )
