"""Columns of an inventory that are computed from the rows of all nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from imgframe import reference, schema, usage
from imgframe.inventory import Inventory
from imgframe.usage.sizes import node_snapshotters, unpacked_sizes


def assemble(tables: Mapping[str, pa.Table]) -> Inventory:
    """An Inventory of these tables with parsed names and sizes."""
    whole = {
        name: tables[name] if name in tables else schema.empty(name)
        for name in schema.TABLES
        if name != "labels"
    }
    totals = usage.snapshot_totals(whole["snapshots"])
    whole["snapshots"] = _with(
        whole["snapshots"],
        total_size=totals.total_size,
        total_inodes=totals.total_inodes,
        depth=totals.depth,
    )
    if totals.errors.num_rows:
        whole["errors"] = schema.concat("errors", [whole["errors"], totals.errors])
    names = reference.repo_tags(whole["images"]["name"])
    parsed = {column: names[column] for column in ("domain", "repository", "tag")}
    whole["images"] = _with(whole["images"], **_schema_columns("images", parsed))
    snapshotter = node_snapshotters(whole["manifests"]["node"], whole["nodes"])
    unpacked, known, _ = unpacked_sizes(whole["manifests"], snapshotter, whole["snapshots"])
    whole["manifests"] = _with(whole["manifests"], unpacked_size=pa.array(unpacked, mask=~known))
    sizes = usage.image_sizes(whole, totals.chains)
    whole["images"] = _with(whole["images"], **sizes)
    return Inventory(whole)


def _schema_columns(name: str, columns: Mapping[str, Any]) -> dict[str, pa.Array]:
    """Columns in the types of the table ``name``."""
    made = schema.table(name, columns)
    return {column: made[column] for column in columns}


def _with(table: pa.Table, **columns: Any) -> pa.Table:
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), values)
    return table
