"""Bars: bytes by repository, copies across nodes, and the waterfall of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from imgframe import capacity
from imgframe.capacity.chart_data import numbers
from imgframe.charts import style

if TYPE_CHECKING:
    import pandas as pd


def usage_by_repository(
    frame: pd.DataFrame, *, by: str | None = None, most: int = 20, ax: Any = None, theme: str = "light"
) -> Any:
    """Stacked bars of unique and shared bytes of the ``most`` largest groups; the rest is one bar, labelled as such.

    ``frame``: as ``capacity.by_repository`` (or by_namespace, by_registry, by_node, by_label) returns it: a column of groups
    (``by``, default its first), ``unique_bytes`` and ``shared_bytes``.

    Example:
        >>> import imgframe as imf, pandas as pd
        >>> frame = pd.DataFrame({"repository": ["web", "db"], "unique_bytes": [3, 9], "shared_bytes": [1, 1]})
        >>> [label.get_text() for label in imf.charts.usage_by_repository(frame).get_yticklabels()]
        ['db', 'web']
    """
    by = by or str(frame.columns[0])
    style.need(frame, (by, "unique_bytes", "shared_bytes"), "usage_by_repository")
    data = capacity.largest(frame, by, ["unique_bytes", "shared_bytes"], most)
    ax, colours = style.canvas(ax, theme, f"Bytes by {by}", (9, 1.6 + 0.3 * max(len(data), 4)))
    if data.empty:
        return style.say_empty(ax, colours, "No images: nothing to draw.")
    labels = [style.shorten(label) for label in data[by]]
    parts = {"unique_bytes": ("unique", 0), "shared_bytes": ("shared", 1)}
    left = _stacked(ax, colours, data, labels, parts)
    if data["is_rest"].any():
        ax.get_yticklabels()[-1].set_style("italic")
    for place, total in enumerate(left):
        style.annotate(ax, colours, total, (total, place), xytext=(4, 0), va="center", fontsize=8)
    ax.margins(x=0.12)
    style.legend(ax, colours)
    return ax


def _stacked(
    ax: Any, colours: style.Theme, data: pd.DataFrame, labels: list[str], parts: dict[str, tuple[str, int]]
) -> np.ndarray:
    """Draw a horizontal bar per row, of parts (column to label and colour) one after the other; the sums of the bars."""
    places, left = np.arange(len(data)), np.zeros(len(data))
    for column, (label, colour) in parts.items():
        values = data[column].to_numpy()
        look = {"color": colours.series[colour], "edgecolor": colours.paper, "linewidth": 0.6}
        ax.barh(places, values, left=left, height=0.7, label=label, **look)
        left = left + values
    ax.set_yticks(places, labels)
    ax.invert_yaxis()
    style.byte_axis(ax.xaxis)
    style.grid(ax, colours, "x")
    return left


def duplicates(frame: pd.DataFrame, *, most: int = 20, ax: Any = None, theme: str = "light") -> Any:
    """Bars of the bytes that copies of the same content take across nodes.

    ``frame``: columns ``repository`` (or any first column of names), ``copies`` (nodes that hold it), ``one_bytes`` (one copy) and
    ``duplicate_bytes`` (the other copies), as from ``capacity.duplicates``.

    Example:
        >>> import imgframe as imf, pandas as pd
        >>> frame = pd.DataFrame({"repository": ["web"], "copies": [3], "one_bytes": [5], "duplicate_bytes": [10]})
        >>> imf.charts.duplicates(frame).get_title("left")
        'Bytes in copies across nodes'
    """
    by = str(frame.columns[0])
    style.need(frame, (by, "copies", "one_bytes", "duplicate_bytes"), "duplicates")
    data = capacity.largest(frame, by, ["one_bytes", "duplicate_bytes"], most)
    copies = dict(zip(frame[by].astype("object"), numbers(frame["copies"]), strict=True))
    ax, colours = style.canvas(ax, theme, "Bytes in copies across nodes", (9, 1.6 + 0.3 * max(len(data), 4)))
    if data.empty:
        return style.say_empty(ax, colours, "Nothing is on more than one node.")
    labels = [
        name if is_rest else f"{style.shorten(name)}  ×{int(copies[name])}"
        for name, is_rest in zip(data[by], data["is_rest"], strict=True)
    ]
    parts = {"one_bytes": ("first copy", 0), "duplicate_bytes": ("further copies", 5)}
    _stacked(ax, colours, data, labels, parts)
    style.legend(ax, colours)
    return ax


def waterfall(frame: pd.DataFrame, *, ax: Any = None, theme: str = "light") -> Any:
    """What a plan does to the bytes: before, freed by reason, and after.

    ``frame``: columns ``step`` (text), ``bytes`` (signed), ``kind``: ``total`` for a level (before, after), ``freed`` for what
    goes, ``held`` for what one might expect to go but stays (drawn beside, not subtracted). ``Plan.waterfall()`` returns it.

    Example:
        >>> import imgframe as imf, pandas as pd
        >>> steps = pd.DataFrame({"step": ["before", "old", "after"], "bytes": [10, -4, 6], "kind": ["total", "freed", "total"]})
        >>> imf.charts.waterfall(steps).get_title("left")
        'What the plan frees'
    """
    style.need(frame, ("step", "bytes", "kind"), "waterfall")
    ax, colours = style.canvas(ax, theme, "What the plan frees", (1.8 + 1.1 * max(len(frame), 4), 4.6))
    if frame.empty:
        return style.say_empty(ax, colours, "The plan has no steps: nothing changes.")
    colour = {"total": colours.rest, "freed": colours.series[2], "held": colours.series[1]}
    level = 0.0
    bars = zip(frame["kind"].astype(str), numbers(frame["bytes"]), strict=True)
    for place, (kind, value) in enumerate(bars):
        if kind == "total":
            bottom, height, level = 0.0, value, value
        elif kind == "freed":
            bottom, height, level = level + value, -value, level + value
        else:
            bottom, height = max(level - abs(value), 0.0), abs(value)
        look = {"color": colour.get(kind, colours.rest), "hatch": "//" if kind == "held" else None}
        ax.bar(place, height, bottom=bottom, width=0.62, edgecolor=colours.paper, **look)
        style.annotate(ax, colours, value, (place, bottom + height), xytext=(0, 3), ha="center", fontsize=9)
    labels = [style.shorten(step, 18).replace(" ", "\n", 1) for step in frame["step"]]
    ax.set_xticks(range(len(frame)), labels)
    style.byte_axis(ax.yaxis)
    style.grid(ax, colours, "y")
    ax.margins(y=0.12)
    ax.set_ylim(bottom=0)
    return ax
