"""One Arrow schema per table: the type, the unit and the meaning of every column.

Tables travel inside imgframe as :class:`pyarrow.Table` (:func:`table`) and reach the user as plain
:class:`pandas.DataFrame` (:func:`to_frame`). Repeated text is dictionary-encoded with sorted values: an Arrow
dictionary with int32 indices, or a pandas categorical. Maps and lists (labels, env, annotations) are compact JSON text, so
that they can be compared, grouped and written to Parquet like any other text.

Example:
    >>> from imgframe import schema
    >>> schema.TABLES["ingests"].names
    ['node', 'namespace', 'ref', 'offset', 'total', 'started_at', 'updated_at']
"""

from imgframe.schema.arrow_tables import concat, empty, ordered, plan_table, table
from imgframe.schema.columns import BINARY, BOOL, CATEGORY, FLOAT, INT, TIME
from imgframe.schema.frames import from_frame, to_frame
from imgframe.schema.plans import PLANS
from imgframe.schema.tables import TABLES, VERSION

__all__ = [
    "BINARY",
    "BOOL",
    "CATEGORY",
    "FLOAT",
    "INT",
    "PLANS",
    "TABLES",
    "TIME",
    "VERSION",
    "concat",
    "empty",
    "from_frame",
    "ordered",
    "plan_table",
    "table",
    "to_frame",
]
