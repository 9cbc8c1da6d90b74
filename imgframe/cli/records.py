"""Output for machines: every row with all its columns, as JSON or CSV."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

JSON_COLUMNS = ("labels", "record_labels", "annotations")


def rows(table: Any) -> list[dict[str, Any]]:
    """The rows of an Arrow table: raw integers, times as RFC 3339 in UTC with nanoseconds, label maps as objects, unknown as None."""
    names = table.column_names
    data = []
    for name in names:
        column = table[name]
        if str(column.type).startswith("timestamp"):
            data.append([rfc3339(value) for value in column.cast("int64").to_pylist()])
        elif name in JSON_COLUMNS:
            data.append([None if value is None else json.loads(value) for value in column.to_pylist()])
        else:
            data.append(column.to_pylist())
    return [dict(zip(names, values, strict=True)) for values in zip(*data, strict=True)]


def rfc3339(ns: int | None) -> str | None:
    """Nanoseconds since 1970 as RFC 3339 in UTC, the fraction without trailing zeros.

    Example:
        >>> rfc3339(1_700_000_000_120_000_000), rfc3339(None)
        ('2023-11-14T22:13:20.12Z', None)
    """
    if ns is None:
        return None
    seconds, fraction = divmod(ns, 10**9)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}{digits}Z"


def print_rows(table: Any, format: str) -> None:
    """An Arrow table as ``json`` or ``csv``."""
    if format == "json":
        print_json(rows(table))
    else:
        print_csv(table.column_names, rows(table))


def print_json(value: Any) -> None:
    """One JSON value, indented."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")


def print_csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """A header and a line per row: unknown is empty, label maps and booleans are JSON."""
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    if not isinstance(value, dict | bool):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
