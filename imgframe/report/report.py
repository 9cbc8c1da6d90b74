"""Writing the folder of a report, completely or not at all."""

from __future__ import annotations

import base64
import csv
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgframe import schema
from imgframe._version import __version__
from imgframe.folders import replaced
from imgframe.report.budget import Budget, Check, check
from imgframe.report.facts import Facts, gather
from imgframe.report.figures import draw
from imgframe.report.page import render

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.dataset import Dataset
    from imgframe.inventory import Inventory

VERSION = 1
"""Version of report.json."""


@dataclass(frozen=True, slots=True)
class Report:
    """A written report: its folder, the totals of ``report.json``, and the checks of the budget."""

    path: Path
    totals: dict[str, Any]
    checks: list[Check] = field(default_factory=list)

    @property
    def violations(self) -> list[Check]:
        """The checks that failed."""
        return [one for one in self.checks if not one.kept]


def write(
    source: Inventory | Dataset,
    path: str | os.PathLike[str],
    *,
    budget: Budget | None = None,
    max_age: Any = None,
) -> Report:
    """Write the report of an inventory, or of a dataset and its latest state, into the folder ``path``.

    ``index.html`` is self-contained; ``charts/`` has each chart as PNG and SVG, ``tables/`` each table as Parquet and CSV,
    ``report.json`` the totals. The folder appears completely or not at all, and replaces an older report. ``max_age`` as for
    :meth:`imgframe.dataset.Dataset.at`: how old a reading may be, so that nodes out of service do not count.

    Raises:
        InputError: ``path`` exists and is not a report, the dataset has no collection, or the budget or ``max_age`` needs a
            dataset.
        OSError: the disk is full or read-only; nothing was changed.

    Example:
        >>> import imgframe as imf, tempfile
        >>> made = imf.report.write(imf.Inventory({}), tempfile.mkdtemp() + "/report")
        >>> made.totals["total_bytes"]
        0
    """
    facts = gather(source, max_age)
    checks = check(budget, facts) if budget is not None else []
    with replaced(path, "report.json", "a report of imgframe") as folder:
        (folder / "tables").mkdir()
        (folder / "charts").mkdir()
        pictures = {}
        about: dict[str, Any] = {}
        for figure, files in draw(facts):
            places = {}
            for kind in ("png", "svg"):
                places[kind] = f"charts/{figure.name}.{kind}"
                (folder / places[kind]).write_bytes(files[kind])
            pictures[figure.name] = {kind: _inline(files[kind]) for kind in ("svg", "dark")}
            about[figure.name] = {"table": figure.table, **places}
        for name, table in facts.tables.items():
            _write_table(folder / "tables" / name, table)
        (folder / "index.html").write_text(render(facts, pictures, about, checks), encoding="utf-8")
        (folder / "report.json").write_text(_json(facts, about, checks), encoding="utf-8")
    return Report(Path(path), facts.totals, checks)


def _inline(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def _json(facts: Facts, figures: dict[str, Any], checks: list[Check]) -> str:
    tables = {
        name: {"rows": len(table), "parquet": f"tables/{name}.parquet", "csv": f"tables/{name}.csv"}
        for name, table in facts.tables.items()
    }
    content = {
        "imgframe_report": VERSION,
        "imgframe": __version__,
        "source": "dataset" if facts.history else "inventory",
        "totals": facts.totals,
        "tables": tables,
        "figures": figures,
        "budget": [one.to_dict() for one in checks],
        "kept": all(one.kept for one in checks),
    }
    return json.dumps(content, ensure_ascii=True, indent=1) + "\n"


def _write_table(path: Path, table: pd.DataFrame) -> None:
    """Write ``path``.parquet with the exact values, and ``path``.csv without a cell that a spreadsheet takes for a formula."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = schema.ordered(pa.Table.from_pandas(table, preserve_index=False))
    pq.write_table(arrow, path.with_suffix(".parquet"), compression="zstd")
    names = arrow.column_names
    columns = [_plain(arrow[name]) for name in names]
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))


def _plain(column: Any) -> list[Any]:
    """The cells of a column for CSV: plain integers, times in RFC 3339, unknown as empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        return [value or "" for value in pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ").to_pylist()]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.dictionary_encode()
    if pa.types.is_dictionary(column.type):
        whole = column.combine_chunks()
        safe = [*(_harmless(word) for word in whole.dictionary.to_pylist()), ""]
        codes = whole.indices.fill_null(len(safe) - 1).to_pylist()
        return [safe[code] for code in codes]
    if pa.types.is_boolean(column.type):
        return [{True: "true", False: "false", None: ""}[value] for value in column.to_pylist()]
    return column.to_pylist()


def _harmless(word: Any) -> str:
    """The text, after an apostrophe if a spreadsheet would evaluate it."""
    text = str(word)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
