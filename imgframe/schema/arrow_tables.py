"""Arrow tables of a schema, built from columns given as lists, numpy or Arrow arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import pyarrow as pa

from imgframe.errors import SchemaError
from imgframe.schema.columns import CATEGORY
from imgframe.schema.plans import PLANS
from imgframe.schema.tables import TABLES


def table(name: str, columns: Mapping[str, Any]) -> pa.Table:
    """A table of the schema ``name`` from columns given as lists, numpy or Arrow arrays.

    A column that is left out is NA throughout. Text becomes a dictionary with sorted values.

    Raises:
        SchemaError: the table has no such column.

    Example:
        >>> from imgframe import schema
        >>> schema.table("ingests", {"node": ["a"], "ref": ["layer-1"], "offset": [3]}).num_rows
        1
    """
    wanted = TABLES[name]
    unknown = set(columns) - set(wanted.names)
    if unknown:
        raise SchemaError(f"table {name!r} has no column {min(unknown)!r}")
    rows = max((len(values) for values in columns.values() if values is not None), default=0)
    return pa.Table.from_arrays(
        [_column(field, columns.get(field.name), rows) for field in wanted], schema=wanted
    )


def plan_table(name: str, columns: Mapping[str, Any]) -> pa.Table:
    """A table of :data:`PLANS` from columns given as lists, Series or Arrow arrays; what is left out is NA."""
    wanted = PLANS[name]
    plain = {
        key: values if isinstance(values, pa.Array | pa.ChunkedArray) else list(values)
        for key, values in columns.items()
    }
    rows = max(map(len, plain.values()), default=0)
    arrays = [_column(field, _without_na(plain.get(field.name)), rows) for field in wanted]
    return pa.Table.from_arrays(arrays, schema=wanted)


def _without_na(values: Any) -> Any:
    if not isinstance(values, list):
        return values
    return [None if value is None or str(value) == "<NA>" or value != value else value for value in values]  # noqa: PLR0124 -- NaN


@cache
def empty(name: str) -> pa.Table:
    """The table ``name`` with no rows."""
    return TABLES[name].empty_table()


def concat(name: str, tables: Iterable[pa.Table]) -> pa.Table:
    """The rows of several tables of the schema ``name`` in one chunk, with their dictionaries unified."""
    parts = [part for part in tables if part.num_rows]
    if not parts:
        return empty(name)
    if len(parts) == 1:
        return parts[0]
    whole = pa.concat_tables(parts).unify_dictionaries()
    return table(name, {column: whole[column] for column in whole.column_names})


def ordered(source: pa.Table) -> pa.Table:
    """Any table with its text as one int32 dictionary of sorted values per column, as :func:`table` builds them."""
    fields = [
        pa.field(field.name, CATEGORY) if pa.types.is_dictionary(field.type) else field
        for field in source.schema
    ]
    columns = [_column(field, source[field.name], source.num_rows) for field in fields]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _column(field: pa.Field, values: Any, rows: int) -> pa.Array:
    """A column of the right type; text is dictionary-encoded with sorted values and int32 indices."""
    if values is None:
        values = pa.nulls(rows, field.type)
    if isinstance(values, pa.ChunkedArray):
        if pa.types.is_dictionary(values.type):
            values = values.unify_dictionaries()
        values = values.combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # no chunk at all
            values = pa.array([], field.type)
    if not pa.types.is_dictionary(field.type):
        if not isinstance(values, pa.Array):
            values = pa.array(values, field.type, from_pandas=True)
        return values if values.type == field.type else values.cast(field.type)
    if not isinstance(values, pa.Array):
        values = pa.array(values, pa.string(), from_pandas=True)
    if not pa.types.is_dictionary(values.type):
        values = values.cast(pa.string()).dictionary_encode()
    return _sorted_dictionary(values)


def _sorted_dictionary(values: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same values with a sorted dictionary that has no repeats, nulls or unused entries.

    Sorted by code point, which is the byte order of UTF-8 and the order of Go's stores.
    """
    import numpy as np
    import pyarrow.compute as pc

    words = values.dictionary.cast(pa.string())
    codes = values.indices.fill_null(-1).cast(pa.int64()).to_numpy(zero_copy_only=False)
    used = np.zeros(len(words), dtype=bool)
    used[codes[codes >= 0]] = True
    valid = np.asarray(pc.is_valid(words)) if words.null_count else np.ones(len(words), dtype=bool)
    keep = np.flatnonzero(used & valid)
    kept = words.take(pa.array(keep))
    distinct = pc.unique(kept)
    ordered = distinct.take(pc.sort_indices(distinct))
    place = np.full(len(words) + 1, -1, dtype=np.int32)
    place[keep] = pc.index_in(kept, ordered).to_numpy(zero_copy_only=False)
    new = place[codes]
    mask = new < 0
    indices = pa.array(new, pa.int32(), mask=mask) if mask.any() else pa.array(new, pa.int32())
    return pa.DictionaryArray.from_arrays(indices, ordered)
