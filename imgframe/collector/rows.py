"""Columns of many tables, gathered from many nodes and made into Arrow tables at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from imgframe import schema

_FLUSH = 200_000
_EARLIEST, _LATEST = -(1 << 63) + 1, (1 << 63) - 1


class Rows:
    """Rows of the tables of an inventory, column by column.

    Columns are plain lists until a table has many rows; then they become Arrow, so that a fleet's worth of Python objects
    never stands in memory at once.

    Example:
        >>> from imgframe.collector.rows import Rows
        >>> rows = Rows()
        >>> rows.add("ingests", 2, node="a", namespace="default", ref=["x", "y"], offset=[1, 2])
        >>> rows.tables()["ingests"].num_rows
        2
    """

    def __init__(self) -> None:
        self._lists: dict[str, dict[str, list[Any]]] = {}
        self._chunks: dict[str, list[pa.Table]] = {}

    def add(self, table: str, count: int, /, **columns: Sequence[Any] | str | bool | float | None) -> None:
        """Append ``count`` rows to a table; a column is a list of that length, or one value for all rows.

        A column that is left out is NA.
        """
        if not count:
            return
        lists = self._lists.get(table)
        if lists is None:
            lists = self._lists[table] = {column: [] for column in schema.TABLES[table].names}
        for column, values in lists.items():
            value = columns.pop(column, None)
            values.extend(value if isinstance(value, (list, tuple)) else [value] * count)
        if columns:
            raise KeyError(f"table {table!r} has no column {next(iter(columns))!r}")
        if len(next(iter(lists.values()))) >= _FLUSH:
            self._flush(table)

    def extend(self, other: Rows) -> None:
        """Append all rows of another, which gives them away."""
        for name, chunks in other._chunks.items():
            self._flush(name)
            self._chunks.setdefault(name, []).extend(chunks)
        for name, lists in other._lists.items():
            own = self._lists.setdefault(name, lists)
            if own is not lists:
                for column, values in lists.items():
                    own[column].extend(values)
                if len(next(iter(own.values()))) >= _FLUSH:
                    self._flush(name)
        other._lists, other._chunks = {}, {}

    def _flush(self, name: str) -> None:
        lists = self._lists.pop(name, None)
        if lists is not None:
            fields = schema.TABLES[name]
            arrays = [_array(fields.field(column).type, values) for column, values in lists.items()]
            self._chunks.setdefault(name, []).append(pa.Table.from_arrays(arrays, schema=fields))

    def tables(self) -> dict[str, pa.Table]:
        """Every table that got a row, with sorted dictionaries; the rows are given away."""
        for name in list(self._lists):
            self._flush(name)
        done = {}
        for name, chunks in self._chunks.items():
            whole = chunks[0] if len(chunks) == 1 else pa.concat_tables(chunks).unify_dictionaries()
            done[name] = schema.table(name, {column: whole[column] for column in whole.column_names})
        self._chunks = {}
        return done


def _array(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, OverflowError):
        return pa.array([None if v is None or not _EARLIEST <= v <= _LATEST else v for v in values], kind)
