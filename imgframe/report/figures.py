"""The figures of a report: which chart shows which table, drawn without pyplot."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from imgframe import charts
from imgframe.report.facts import Facts

DPI = 144
LINES = 6
"""Nodes in the chart of growth."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart: ``name`` of its files, the table behind it, how it is drawn, and whether it needs a dataset."""

    name: str
    table: str
    draw: Callable[[Facts, str], Any]
    history: bool = False


def _repositories(facts: Facts) -> Any:
    """Bytes by repository, shared ones divided between those that need them, so that the bars add up to the disk."""
    table = facts.tables["repositories"]
    words = table["repository"].astype("object")
    return table[["unique_bytes"]].assign(
        repository=words.mask(words == "", "<no repository>").fillna("<no image>"),
        shared_bytes=table["share_bytes"] - table["unique_bytes"],
        bytes=table["share_bytes"],
    )[["repository", "unique_bytes", "shared_bytes", "bytes"]]


def _fleet(facts: Facts, theme: str) -> Any:
    nodes = facts.tables["nodes"]
    columns = ["node", "content_bytes", "snapshot_bytes", "reclaimable_bytes"]
    return charts.fleet(nodes[columns].rename(columns={"snapshot_bytes": "snapshots_bytes"}), theme=theme)


def _growth(facts: Facts, theme: str) -> Any:
    """Growth of the nodes closest to their thresholds; all of them would be illegible."""
    forecast = facts.tables["forecast"]
    near = (forecast["used_bytes"] / forecast["threshold_bytes"]).astype("Float64").fillna(0)
    chosen = forecast.loc[near.sort_values(ascending=False, kind="stable").index[:LINES], "node"]
    growth = facts.tables["growth"]
    return charts.growth(growth[growth["node"].isin(chosen)], forecast, theme=theme)


FIGURES = (
    Figure(
        "repositories", "repositories", lambda f, t: charts.usage_by_repository(_repositories(f), theme=t)
    ),
    Figure("treemap", "repositories", lambda f, t: charts.treemap(_repositories(f), size="bytes", theme=t)),
    Figure("waterfall", "waterfall", lambda f, t: charts.waterfall(f.tables["waterfall"], theme=t)),
    Figure("nodes", "nodes", _fleet),
    Figure("duplicates", "duplicates", lambda f, t: charts.duplicates(f.tables["duplicates"], theme=t)),
    Figure("age", "images", lambda f, t: charts.age_against_size(f.tables["images"], now=f.now, theme=t)),
    Figure("layer_sharing", "layer_sharing", lambda f, t: charts.layer_sharing(f.matrix, theme=t)),
    Figure("growth", "growth", _growth, history=True),
    Figure("changes", "changes", lambda f, t: charts.timeline(f.tables["changes"], theme=t), history=True),
)


def draw(facts: Facts) -> Iterator[tuple[Figure, dict[str, bytes]]]:
    """Every figure that the facts allow, as bytes: ``png`` and ``svg`` (light), ``dark`` (SVG)."""
    for figure in FIGURES:
        if facts.history or not figure.history:
            with _drawing():
                light, dark = figure.draw(facts, "light").figure, figure.draw(facts, "dark").figure
                pictures = {"svg": _saved(light, "svg")}
                _lay_out_as(dark, light)
                pictures |= {"png": _saved(light, "png"), "dark": _saved(dark, "svg")}
            yield figure, pictures


def _lay_out_as(dark: Any, light: Any) -> None:
    """Give both figures the layout of the light one, so that they differ only in colours."""
    for mine, its in zip(dark.axes, light.axes, strict=True):
        mine.set_position(its.get_position())
    for figure in (dark, light):
        figure.set_layout_engine("none")


@contextmanager
def _drawing() -> Iterator[None]:
    """Make output reproducible, and draw characters that the font lacks as boxes without a warning."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "imgframe", "svg.fonttype": "path"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def _saved(figure: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    about = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, dpi=DPI, metadata=about)
    return buffer.getvalue()
