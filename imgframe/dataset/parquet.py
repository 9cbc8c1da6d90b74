"""The Parquet files of one collection: plain for any reader; row groups that cannot match are not read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.errors import InputError, SchemaError

LOCK = ".lock"
"""Lock file in the folder of a dataset: shared by appends, exclusive for a prune."""

FRESH, GONE = ".new.", ".gone."
"""Prefixes of the names of folders that are being written, or being deleted."""

_ROW_GROUP = 250_000


def ours(entry: Path) -> bool:
    """Whether a file beside the collections is a lock file, or temporary: made by an append or a prune."""
    return entry.name == LOCK or entry.name.startswith((FRESH, GONE))


def write_table(target: Any, name: str, table: pa.Table) -> None:
    """Write one table as Parquet into ``target``, a path or an open file."""
    import pyarrow.parquet as pq

    flat = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    meta = {"imgframe.schema_version": str(schema.VERSION), "imgframe.table": name}
    # without the Arrow schema other readers see text columns as plain strings, and can prune row groups by them
    with pq.ParquetWriter(
        target,
        table.schema.remove_metadata(),
        compression="zstd",
        compression_level=1,
        use_dictionary=flat,
        store_schema=False,
    ) as writer:
        writer.write_table(table.replace_schema_metadata(None), row_group_size=_ROW_GROUP)
        writer.add_key_value_metadata(meta)


def read_table(
    folder: Path, name: str, columns: Sequence[str] | None = None, nodes: Sequence[str] | None = None
) -> pa.Table:
    """One table of one collection, with dictionary columns as dictionaries; row groups of other nodes are not read.

    Raises:
        InputError: no such column.
        SchemaError: the collection no longer exists.
    """
    import pyarrow.parquet as pq

    wanted = schema.TABLES[name]
    fields = [field for field in wanted if columns is None or field.name in columns]
    if columns is not None and len(fields) != len(set(columns)):
        raise InputError(
            f"table {name!r} has no column {next(c for c in columns if c not in wanted.names)!r}"
        )
    text = [field.name for field in fields if pa.types.is_dictionary(field.type)]
    try:
        opened = pq.ParquetFile(folder / f"{name}.parquet", read_dictionary=text)
    except FileNotFoundError:
        if folder.is_dir():
            raise
        raise SchemaError(
            f"{str(folder)!r} no longer exists: the dataset was pruned after it was opened; open it again"
        ) from None
    with opened as file:
        names = [field.name for field in fields]
        if nodes is None or "node" not in wanted.names:
            table = file.read(columns=names)
        else:
            every = range(file.num_row_groups)
            groups = [at for at in every if _may_hold(file.metadata.row_group(at), nodes)]
            table = file.read_row_groups(groups, columns=list(dict.fromkeys([*names, "node"])))
            wanted_nodes = pa.array(list(nodes), pa.string())
            table = table.filter(pc.is_in(table["node"].cast(pa.string()), wanted_nodes))
    target = pa.schema(fields)
    return pa.table([_as(table[field.name], field.type) for field in target], schema=target)


def _may_hold(group: Any, nodes: Sequence[str]) -> bool:
    """Whether a row group may have rows of one of the nodes, judging by its smallest and largest name."""
    for at in range(group.num_columns):
        column = group.column(at)
        if column.path_in_schema == "node":
            bounds = column.statistics
            if bounds is not None and bounds.has_min_max:
                return any(bounds.min <= node <= bounds.max for node in nodes)
    return True


def _as(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    if column.type == type_:
        return column
    if pa.types.is_dictionary(type_) and not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    return column.cast(type_)
