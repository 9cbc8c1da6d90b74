"""The bytes that the store of each node holds."""

from __future__ import annotations

import pyarrow as pa


def content_by_node(blobs: pa.Table) -> dict[str, int]:
    """Bytes of content by node, each blob once however many namespaces list it.

    Example:
        >>> from imgframe import schema
        >>> blobs = {"node": ["a"] * 2, "namespace": ["x", "y"], "digest": ["d"] * 2, "size": [5] * 2}
        >>> content_by_node(schema.table("blobs", blobs))
        {'a': 5}
    """
    return _sums(blobs.group_by(["node", "digest"]).aggregate([("size", "max")]), "size_max")


def snapshots_by_node(snapshots: pa.Table) -> dict[str, int]:
    """Bytes of snapshots by node; unknown sizes count 0."""
    return _sums(snapshots, "size")


def _sums(table: pa.Table, column: str) -> dict[str, int]:
    summed = table.group_by("node").aggregate([(column, "sum")])
    return {row["node"]: row[f"{column}_sum"] or 0 for row in summed.to_pylist()}
