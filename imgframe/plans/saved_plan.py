"""Saved plans: what :meth:`Plan.save` wrote, checked before anything is believed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imgframe import schema
from imgframe.errors import NodeError, SchemaError
from imgframe.node import Node
from imgframe.plans.plan import FREED, NUMBERS, Plan

if TYPE_CHECKING:
    import pandas as pd

_ID = re.compile(r"[0-9a-f]{16}")
_FREED_COLUMNS = {
    "blobs": ("node", "digest", "size", "reason"),
    "snapshots": ("node", "namespace", "snapshotter", "key", "size", "inodes", "reason"),
    "held": ("node", "namespace", "kind", "key", "size"),
}
"""Columns that are used of what a plan frees."""


@dataclass(frozen=True, slots=True)
class SavedReclaim:
    """The numbers and frames of a :class:`~imgframe.Reclaim` as a saved plan holds them."""

    content_bytes: int
    snapshot_bytes: int
    ingest_bytes: int
    garbage_bytes: int
    inodes: int
    total_bytes: int
    _tables: Mapping[str, pa.Table] = field(repr=False)

    def arrow(self, name: str) -> pa.Table:
        """One of the frames (blobs, snapshots, ingests, held, unknown, missing, unread) as an Arrow table."""
        return self._tables[name]

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name.startswith("_") or name not in self._tables:
            raise AttributeError(name)
        return schema.to_frame(self._tables[name])


def open_plan(path: str | os.PathLike[str]) -> Plan:
    """The Plan that :meth:`Plan.save` wrote into the folder ``path``.

    Raises:
        SchemaError: not a saved plan, changed since, or of a version that this imgframe does not know.
    """
    import pyarrow.parquet as pq

    folder, where = Path(path), repr(str(path))
    try:
        about = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        version = about["imgframe_plan"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SchemaError(f"{where} is not a saved plan: {error}") from error
    if version != schema.VERSION:
        raise SchemaError(
            f"{where} is a plan of version {version!r}; this imgframe reads version {schema.VERSION}"
        )
    nodes = _checked(about, where)
    names = ["steps", "kept", *(f"freed_{name}" for name in FREED if about["freed"] is not None)]
    try:
        parts = {name: pq.read_table(folder / f"{name}.parquet") for name in names}
    except (OSError, pa.ArrowException) as error:
        raise SchemaError(f"{where} is an incomplete saved plan, make it again: {error}") from error
    tables = {name: plan_part(name, parts[name], where) for name in ("steps", "kept")}
    check_steps(tables["steps"], nodes, about["stores"], where)
    freed = None
    if about["freed"] is not None:
        for name, columns in _FREED_COLUMNS.items():
            _have(parts[f"freed_{name}"], columns, f"freed_{name}", where)
        freed = SavedReclaim(**about["freed"], _tables={name: parts[f"freed_{name}"] for name in FREED})
    return _checked_plan(about, nodes, tables["steps"], tables["kept"], freed, where)


def restored(about: Any, steps: pa.Table, where: str) -> Plan:
    """The Plan with these steps of which an audit holds all but the frames that say what it keeps and frees.

    Raises:
        SchemaError: it is not what was written.
    """
    if not isinstance(about, dict):
        raise SchemaError(f"{where} is not an audit: {str(about)[:80]!r}")
    nodes = _checked(about, where)
    check_steps(steps, nodes, about["stores"], where)
    return _checked_plan(about, nodes, steps, schema.plan_table("kept", {}), None, where)


def _checked_plan(
    about: dict[str, Any],
    nodes: dict[str, Node],
    steps: pa.Table,
    kept: pa.Table,
    freed: SavedReclaim | None,
    where: str,
) -> Plan:
    plan = Plan(
        steps,
        kept,
        nodes,
        freed,
        about["undo_for"],
        about["made_at"],
        about["id"],
        about["stores"],
        about.get("shortfall_bytes"),
        tuple(about.get("notes", [])),
    )
    try:
        plan.check()
    except SchemaError as error:
        raise SchemaError(f"{where}: {error}") from error
    return plan


def _checked(about: Any, where: str) -> dict[str, Node]:
    """The nodes of a ``plan.json`` whose values all have the right types."""
    if "stores" not in about:
        raise SchemaError(f"{where} was saved before plans knew the store of each node; make it again")
    expected: dict[str, tuple[bool, str]] = {
        "id": (_is_id(about.get("id")), "16 hexadecimal digits"),
        "made_at": (_is_count(about.get("made_at")), "nanoseconds"),
        "undo_for": (
            "undo_for" in about and (about["undo_for"] is None or _is_count(about["undo_for"])),
            "seconds or null",
        ),
        "stores": (_are_texts(about["stores"]), "an object of texts"),
        "shortfall_bytes": (
            about.get("shortfall_bytes") is None or _is_count(about.get("shortfall_bytes")),
            "a number of bytes or null",
        ),
        "notes": (
            isinstance(about.get("notes", []), list)
            and all(isinstance(one, str) for one in about.get("notes", [])),
            "a list of texts",
        ),
        "nodes": (isinstance(about.get("nodes"), dict), "an object"),
        "freed": (
            "freed" in about and (about["freed"] is None or _are_counts(about["freed"])),
            f"null, or an object with {', '.join(NUMBERS)}",
        ),
    }
    for name, (good, words) in expected.items():
        if not good:
            raise SchemaError(f"{where}: {name} is {str(about.get(name))[:80]!r}; expected {words}")
    try:
        return {name: Node.of({"name": name, **given}) for name, given in about["nodes"].items()}
    except (NodeError, TypeError, ValueError) as error:
        raise SchemaError(f"{where}: a node cannot be read: {error}") from error


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {*NUMBERS} and all(map(_is_count, value.values()))


def _have(table: pa.Table, columns: tuple[str, ...], name: str, where: str) -> None:
    lacking = [column for column in columns if column not in table.column_names]
    if lacking:
        raise SchemaError(f"{where}: the table {name!r} has no column {lacking[0]!r}")


def plan_part(name: str, read: pa.Table, where: str) -> pa.Table:
    """A table that was read, as a table of a plan.

    Raises:
        SchemaError: it has other columns, or values of other types.
    """
    if read.column_names != schema.PLANS[name].names:
        raise SchemaError(f"{where} has other columns than the table {name!r} of a plan")
    try:
        return schema.plan_table(name, {column: read[column] for column in read.column_names})
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise SchemaError(
            f"{where}: the table {name!r} of a plan has values of other types: {error}"
        ) from error


def check_steps(steps: pa.Table, nodes: Mapping[str, Node], stores: Mapping[str, str], where: str) -> None:
    """Check that steps are as a plan has them: numbered in order, each once, on its nodes, with readable options.

    A plan of an inventory that knows no nodes has none either: it can be read, and applying it fails.

    Raises:
        SchemaError: they are not.
    """
    if steps["step"].to_pylist() != list(range(steps.num_rows)):
        raise SchemaError(f"{where}: the steps are not numbered from 0 on, each once")
    for column in ("action", "node", "namespace", "name"):
        if steps[column].null_count:
            raise SchemaError(f"{where}: a step has no {column}")
    strange = sorted(set(steps["node"].to_pylist()) - nodes.keys())
    if strange and (nodes or stores):
        raise SchemaError(f"{where}: a step is on the node {strange[0]!r}, which the plan does not have")
    for column in ("options", "record_labels"):
        for text in set(steps[column].to_pylist()) - {None}:
            _object(text, column, where)
    columns = ("action", "node", "namespace", "name", "to", "options")
    seen = set()
    for row in zip(*(steps[column].to_pylist() for column in columns), strict=True):
        key = row[:4] if row[0] in {"delete", "create"} else row
        if key in seen:
            raise SchemaError(f"{where}: {row[0]} of {row[3]!r} on {row[1]!r} is in the plan twice")
        seen.add(key)
    for action, digest in zip(steps["action"].to_pylist(), steps["digest"].to_pylist(), strict=True):
        if action in {"delete", "create"} and digest is None:
            raise SchemaError(f"{where}: a step to {action} has no digest")


def _object(text: str, column: str, where: str) -> None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{where}: {column} of a step are not JSON: {error}") from error
    if not isinstance(found, dict):
        raise SchemaError(f"{where}: {column} of a step are {text[:80]!r}; expected a JSON object")
    if column == "record_labels" and not _are_texts(found):
        raise SchemaError(f"{where}: a label of a record is not text")
