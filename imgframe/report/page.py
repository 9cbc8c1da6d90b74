"""The page of a report; all text that comes from stores is escaped by Jinja's autoescape, and only by that."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from imgframe._version import __version__
from imgframe.inventory import human_bytes
from imgframe.report.sections import SECTIONS, PageColumn, PageFigure, PageTable

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.report.budget import Check
    from imgframe.report.facts import Facts

MOST_ROWS = 20
"""Rows of a table that the page shows; the files hold all."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text, its sort key, and the exact value if the text is rounded."""

    text: str
    order: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """The first rows of a table: columns, cells, how many more rows the file has, and the file."""

    columns: tuple[PageColumn, ...]
    rows: list[list[Cell]]
    more: int
    file: str


def render(
    facts: Facts, pictures: dict[str, dict[str, str]], about: dict[str, dict[str, str]], checks: list[Check]
) -> str:
    """The page as HTML: ``pictures`` are data URLs by figure and theme, ``about`` the files and the table of each figure."""
    environment = Environment(
        loader=PackageLoader("imgframe.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"bytes": _or_unknown(lambda size: human_bytes(size, 4)), "printable": printable}
    environment.filters |= {"exact": _or_unknown("{:,} bytes".format), "count": _or_unknown("{:,}".format)}
    source = environment.loader
    assert source is not None
    script = source.get_source(environment, "sort.js")[0]
    alts = {
        picture.name: _alt(facts.tables[about[picture.name]["table"]], picture)
        for section in SECTIONS
        for picture in section.figures
        if picture.name in about
    }
    sections = [
        (section, [_grid(facts, view) for view in section.tables])
        for section in SECTIONS
        if facts.history or not section.history
    ]
    return environment.get_template("page.html").render(
        totals=facts.totals,
        history=facts.history,
        sections=sections,
        pictures=pictures,
        about=about,
        alts=alts,
        checks=checks,
        store=facts.sharing_store,
        version=__version__,
        style=Markup(source.get_source(environment, "style.css")[0]),  # noqa: S704 -- our own file
        script=Markup(script),  # noqa: S704 -- our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _alt(table: pd.DataFrame, picture: PageFigure) -> str:
    """The alternative text of a figure: its kind, and the largest values with their names."""
    if not picture.value or table.empty:
        return f"{picture.alt}." if len(table) else f"{picture.alt}; there are none."
    steps = picture.label == "step"
    head = table if steps else _sorted(table, picture.value).head(3)
    pairs = zip(head[picture.label].astype("object"), head[picture.value], strict=True)
    kind = "repository" if picture.label == "repository" else "text"
    words = [f"{cell(name, kind).text} {cell(size, 'bytes').text}" for name, size in pairs]
    column = "" if steps else f"; most {picture.value.removesuffix('_bytes')} bytes"
    return f"{picture.alt}{column}: {', '.join(words)}."


def _grid(facts: Facts, view: PageTable) -> Grid:
    table: pd.DataFrame = facts.tables[view.table]
    columns = tuple(column for column in view.columns if column.name in table.columns)
    head = table if view.sort is None else _sorted(table, view.sort)
    head = (_once(head) if view.once else head).head(MOST_ROWS)
    values = [head[column.name].astype("object").tolist() for column in columns]
    rows = [
        [cell(value, column.kind) for value, column in zip(row, columns, strict=True)]
        for row in zip(*values, strict=True)
    ]
    return Grid(columns, rows, len(table) - len(rows), f"tables/{view.table}.csv")


def _sorted(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table.sort_values(column, ascending=False, na_position="last", kind="stable")


def _once(table: pd.DataFrame) -> pd.DataFrame:
    """One row per node, namespace and digest: rather a name with a tag than one with a digest, rather that than a bare digest."""
    names = table["name"].astype("object")
    odd = names.str.contains("@", regex=False) + 2 * names.str.startswith("sha256:")
    order = odd.sort_values(kind="stable").index
    chosen = table.loc[order].drop_duplicates(["node", "namespace", "digest"]).index
    return table[table.index.isin(chosen)]


def cell(value: Any, kind: str) -> Cell:
    """A value as a column of this kind shows it: bytes, count, days, time, digest, repository, flag, word or text."""
    import pandas as pd

    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):  # noqa: PLR0124 -- NaN
        blank = {"repository": "(no image)", "text": "–", "word": "–", "time": "–", "days": "–"}
        return Cell(blank.get(kind, "?"), "", "unknown" if kind not in blank else "")
    if kind == "bytes":
        return Cell(human_bytes(int(value), 3), str(int(value)), f"{int(value):,} bytes")
    if kind == "count":
        return Cell(f"{int(value):,}", str(int(value)))
    if kind == "days":
        return Cell(f"{float(value):,.1f}", repr(float(value)))
    if kind == "time":
        stamp = f"{value:%Y-%m-%d %H:%M}"
        return Cell(stamp, stamp)
    if kind == "flag":
        return Cell("yes" if value else "no", "1" if value else "0")
    text = printable(value)
    if kind == "repository" and not text:
        return Cell("(no repository)", "")
    if kind == "digest":
        algorithm, _, rest = text.partition(":")
        return Cell(f"{algorithm}:{rest[:12]}" if rest else text[:24], text, text)
    return Cell(text, text)


def printable(value: Any) -> str:
    """The text with unprintable characters (control characters, direction marks) as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in str(value)
    )


def _or_unknown(text: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "unknown" if value is None else text(value)
