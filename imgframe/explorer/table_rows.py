"""The rows of the table: which records match, in which order, and the text of their cells."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe.filters import lint_filters
from imgframe.inventory import Inventory, human_bytes, memoised
from imgframe.nerdctl.selection import prune_candidates, select_images

COMMANDS = ("images", "image prune", "image prune --all")
"""nerdctl's commands with filters; each interprets the same strings differently."""


class TableColumn(NamedTuple):
    """A column of the table: its name in ``images``, its heading, its meaning, and how it is formatted.

    ``weight``: how soon a narrow table hides it; 0: never.
    """

    name: str
    heading: str
    meaning: str
    kind: str
    weight: int


COLUMNS = (
    TableColumn("name", "name", "name of the record", "text", 0),
    TableColumn("node", "node", "node", "text", 1),
    TableColumn("namespace", "namespace", "containerd namespace", "text", 2),
    TableColumn("created_at", "since", "when this record was created in this store (UTC)", "time", 1),
    TableColumn("content_size", "content", "manifest, config and layers as declared", "bytes", 2),
    TableColumn("unpacked_size", "unpacked", "snapshots of the image, all layers", "bytes", 2),
    TableColumn("unique_size", "unique", "bytes that no other image of the store needs", "bytes", 0),
    TableColumn("use", "use", "containers that use it, by name or by digest; pins", "use", 0),
)


def columns_of(inventory: Inventory) -> tuple[TableColumn, ...]:
    """The columns to show: node and namespace only if there are several.

    Example:
        >>> [column.heading for column in columns_of(Inventory({}))]
        ['name', 'since', 'content', 'unpacked', 'unique', 'use']
    """
    images = inventory.arrow("images")
    single = {name for name in ("node", "namespace") if len(pc.unique(images[name])) < 2}
    return tuple(column for column in COLUMNS if column.name not in single)


def matching(inventory: Inventory, text: str, command: str) -> np.ndarray:
    """The positions in ``inventory.images`` of the records that the command lists with ``--filter text``.

    Raises:
        FilterError: nerdctl refuses the text, with its words.

    Example:
        >>> matching(Inventory({}), "dangling=true", "images").tolist()
        []
    """
    given = [text] if text else []
    if command == "images":
        found = select_images(inventory, given)
    else:
        found = prune_candidates(inventory, given, all=command.endswith("--all"))
    return found.index.to_numpy().astype(np.int64)


def warnings_of(text: str, command: str) -> tuple[str, ...]:
    """What the filter does not do although it seems to.

    Example:
        >>> warnings_of("until=24h", "images")
        ('until=24h: images ignores until, even one that is no time',)
    """
    return tuple(lint_filters([text], command.removesuffix(" --all"))) if text else ()


def ordered(inventory: Inventory, positions: np.ndarray, column: str, *, descending: bool) -> np.ndarray:
    """The positions sorted by a column; unknown values come last, equal ones keep the order of the table.

    Example:
        >>> ordered(Inventory({}), np.array([], np.int64), "name", descending=False).tolist()
        []
    """
    key, unknown = _sort_key(inventory, column)
    positions = np.sort(positions)
    chosen = -key[positions] if descending else key[positions]
    chosen = np.where(unknown[positions], np.iinfo(np.int64).max, chosen)
    return positions[np.argsort(chosen, kind="stable")]


@memoised
def _sort_key(inventory: Inventory, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Integers that sort like the column, and where it is unknown; dictionaries are sorted, so their codes do."""
    images = inventory.arrow("images")
    if column == "use":
        used = images["used_by_digest"].cast(pa.int64())
        pinned = pc.fill_null(images["pinned"].cast(pa.int64()), 0)
        values = pc.add(pc.add(pc.multiply(images["containers"], 4), pc.multiply(used, 2)), pinned)
    else:
        values = images[column]
    array = values.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.indices
    numbers = pc.fill_null(array.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    return numbers, array.is_null().to_numpy(zero_copy_only=False)


def cells(
    inventory: Inventory, positions: np.ndarray, columns: tuple[TableColumn, ...]
) -> list[dict[str, Any]]:
    """One dict for each position: ``position``, ``cells`` (text) and ``titles`` (the exact value), ready for the front end.

    Example:
        >>> cells(Inventory({}), np.array([], np.int64), COLUMNS)
        []
    """
    names = [column.name for column in columns if column.name != "use"]
    needed = [*names, "containers", "used_by_digest", "pinned"]
    taken = inventory.arrow("images").select(needed).take(pa.array(positions, pa.int64()))
    for place, field in enumerate(taken.schema):
        if pa.types.is_timestamp(field.type):
            taken = taken.set_column(place, field.name, taken.column(place).cast(pa.int64()))
    out = []
    for position, row in zip(positions.tolist(), taken.to_pylist(), strict=True):
        texts, titles = zip(*(_cell(column, row) for column in columns), strict=True)
        out.append({"position": position, "cells": list(texts), "titles": list(titles)})
    return out


def _cell(column: TableColumn, row: dict[str, Any]) -> tuple[str, str]:
    """The text of a cell, and the exact value for its tooltip."""
    if column.kind == "use":
        return _use(row)
    value = row[column.name]
    if value is None:
        return "unknown", f"{column.meaning}: unknown"
    if column.kind == "bytes":
        return human_bytes(value), f"{value:,} bytes"
    if column.kind == "time":
        when = datetime.fromtimestamp(value // 10**9, UTC)
        return f"{when:%Y-%m-%d}", f"{when:%Y-%m-%d %H:%M:%S}.{value % 10**9:09d} UTC"
    return value, value


def _use(row: dict[str, Any]) -> tuple[str, str]:
    containers, by_digest = row["containers"], row["used_by_digest"]
    parts = []
    if containers:
        parts.append(f"{containers:,} container{'' if containers == 1 else 's'}")
    elif by_digest:
        parts.append("by digest")
    elif containers is None or by_digest is None:
        parts.append("unknown")
    if row["pinned"]:
        parts.append("pinned")
    text = ", ".join(parts) or "–"
    return text, "no container uses it" if text == "–" else text
