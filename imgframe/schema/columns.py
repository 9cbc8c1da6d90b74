"""The types of columns, and how a schema states the meaning and the unit of each."""

from __future__ import annotations

import pyarrow as pa

CATEGORY = pa.dictionary(pa.int32(), pa.string())
INT = pa.int64()
FLOAT = pa.float64()
BOOL = pa.bool_()
TIME = pa.timestamp("ns", tz="UTC")
BINARY = pa.large_binary()


def described(**columns: tuple[pa.DataType, str]) -> pa.Schema:
    """An Arrow schema whose fields have their meaning as metadata, with the unit in brackets: ``[bytes]``."""
    return pa.schema([pa.field(name, type_, metadata={"doc": doc}) for name, (type_, doc) in columns.items()])


NODE = (CATEGORY, "name of the node")
NAMESPACE = (CATEGORY, "containerd namespace")
