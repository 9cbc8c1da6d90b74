"""Conversion between Arrow tables and plain DataFrames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imgframe._img_accessor import register_where_pandas_is_loaded
from imgframe.schema.arrow_tables import table
from imgframe.schema.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd


def to_frame(source: pa.Table) -> pd.DataFrame:
    """The table as a plain DataFrame with a RangeIndex.

    Dictionary text becomes a category with sorted categories, integers ``Int64``, booleans ``boolean``, times
    ``datetime64[ns, UTC]``, other text ``str``; dtypes never depend on whether values are missing.
    """
    import pandas as pd

    register_where_pandas_is_loaded()
    data = {field.name: _to_series(field, source[field.name].combine_chunks()) for field in source.schema}
    return pd.DataFrame(data, index=pd.RangeIndex(source.num_rows), copy=False)


def _to_series(field: pa.Field, column: pa.Array) -> Any:
    import pandas as pd

    if pa.types.is_dictionary(field.type):
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        categories = pd.Index(column.dictionary.to_pylist(), dtype="str")
        return pd.Categorical.from_codes(codes, categories=categories)
    if pa.types.is_integer(field.type):
        return pd.array(_filled(column, 0), dtype="Int64") if not column.null_count else _masked(column, 0)
    if pa.types.is_boolean(field.type):
        return _masked(column, False)
    if pa.types.is_timestamp(field.type):
        return column.to_pandas().array
    if pa.types.is_large_string(field.type):
        return pd.array(column.to_pylist(), dtype="str")
    return column.to_pandas().array


def _filled(column: pa.Array, value: Any) -> Any:
    return (column.fill_null(value) if column.null_count else column).to_numpy(zero_copy_only=False)


def _masked(column: pa.Array, value: Any) -> Any:
    """A pandas masked array of the values, with those missing masked."""
    import numpy as np
    import pandas as pd

    values = np.ascontiguousarray(_filled(column, value))
    missing = (
        column.is_null().to_numpy(zero_copy_only=False)
        if column.null_count
        else np.zeros(len(column), dtype=bool)
    )
    kind = pd.arrays.BooleanArray if values.dtype == bool else pd.arrays.IntegerArray
    return kind(values.copy(), missing.copy())


def from_frame(name: str, frame: pd.DataFrame) -> pa.Table:
    """The table of the schema ``name`` from a frame with categories or plain strings and integers of any size.

    Columns that are not in the schema are left out; those that the frame lacks are NA.
    """
    wanted = TABLES[name]
    columns = {}
    for field in wanted:
        if field.name in frame.columns:
            values = frame[field.name]
            columns[field.name] = _from_series(field, values)
    return table(name, {**columns, **({} if columns else {wanted.names[0]: [None] * len(frame)})})


def _from_series(field: pa.Field, values: Any) -> pa.Array:
    import pandas as pd

    if pa.types.is_dictionary(field.type) and isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy().astype("int32")
        return pa.DictionaryArray.from_arrays(
            pa.array(codes, pa.int32(), mask=codes < 0),
            pa.array(values.cat.categories.astype("object"), pa.string()),
        )
    if pa.types.is_timestamp(field.type):
        return pa.array(values.astype("datetime64[ns, UTC]"), field.type, from_pandas=True)
    return pa.array(
        values.astype("object"),
        pa.string() if pa.types.is_dictionary(field.type) else field.type,
        mask=values.isna().to_numpy(),  # a pyarrow that looked for pandas in vain never knows pandas.NA
    )
