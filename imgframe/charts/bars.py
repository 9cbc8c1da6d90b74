"""Bars: bytes by repository, and the waterfall of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from imgframe import capacity
from imgframe.capacity.chart_data import numbers
from imgframe.charts import style
from imgframe.inventory import human_bytes

if TYPE_CHECKING:
    import pandas as pd


def usage_by_repository(
    frame: pd.DataFrame, *, by: str | None = None, most: int = 20, ax: Any = None, theme: str = "light"
) -> Any:
    """Stacked bars of unique and shared bytes, the largest ``most`` groups; the rest is one bar and says so.

    ``frame``: as ``capacity.by_repository`` (or by_namespace, by_registry, by_node, by_label) gives it: a column of groups
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
    places = np.arange(len(data))
    left = np.zeros(len(data))
    for name, colour in (("unique", colours.series[0]), ("shared", colours.series[1])):
        values = data[f"{name}_bytes"].to_numpy()
        ax.barh(
            places,
            values,
            left=left,
            color=colour,
            height=0.7,
            label=name,
            edgecolor=colours.paper,
            linewidth=0.6,
        )
        left += values
    ax.set_yticks(places, [style.shorten(label) for label in data[by]])
    if data["is_rest"].any():
        ax.get_yticklabels()[-1].set_style("italic")
    ax.invert_yaxis()
    style.byte_axis(ax.xaxis)
    style.grid(ax, colours, "x")
    for place, total in zip(places, left, strict=True):
        ax.annotate(
            human_bytes(total, 3),
            (total, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=colours.ink,
            fontsize=8,
        )
    ax.margins(x=0.12)
    style.legend(ax, colours)
    return ax


def waterfall(frame: pd.DataFrame, *, ax: Any = None, theme: str = "light") -> Any:
    """What a plan does to the bytes: before, freed by reason, and after.

    ``frame``: columns ``step`` (text), ``bytes`` (signed), ``kind``: ``total`` for a level (before, after), ``freed`` for what
    goes, ``held`` for what the user might expect to go and stays (drawn beside, not subtracted). ``Plan.waterfall()`` gives it.

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
    for place, (kind, value) in enumerate(
        zip(frame["kind"].astype(str), numbers(frame["bytes"]), strict=True)
    ):
        if kind == "total":
            bottom, height, level = 0.0, value, value
        elif kind == "freed":
            bottom, height, level = level + value, -value, level + value
        else:
            bottom, height = max(level - abs(value), 0.0), abs(value)
        hatch = "//" if kind == "held" else None
        ax.bar(
            place,
            height,
            bottom=bottom,
            color=colour.get(kind, colours.rest),
            width=0.62,
            hatch=hatch,
            edgecolor=colours.paper,
        )
        text = human_bytes(value, 3)
        ax.annotate(
            text,
            (place, bottom + height),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            color=colours.ink,
            fontsize=9,
        )
    labels = [style.shorten(step, 18).replace(" ", "\n", 1) for step in frame["step"]]
    ax.set_xticks(range(len(frame)), labels)
    style.byte_axis(ax.yaxis)
    style.grid(ax, colours, "y")
    ax.margins(y=0.12)
    ax.set_ylim(bottom=0)
    return ax
