"""Time: growth with its forecast, age against size, and what changed when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from imgframe import capacity
from imgframe.charts import style
from imgframe.inventory import human_bytes

if TYPE_CHECKING:
    import pandas as pd

MOST_DAYS = 3650
"""A forecast is drawn ten years ahead at most."""

_THRESHOLD = "GC threshold"


def growth(
    frame: pd.DataFrame,
    forecast: pd.DataFrame | None = None,
    *,
    by: str | None = None,
    most: int = 6,
    ax: Any = None,
    theme: str = "light",
) -> Any:
    """Lines of bytes over time by group, with the band of the forecast and the threshold if given.

    ``frame``: as from ``capacity.growth``; the lines are ``disk_used`` if it is known, else ``total_bytes``. ``forecast``: as from
    ``capacity.forecast``; its band reaches up to the threshold. The ``most`` largest groups; the rest is one line.

    Example:
        >>> import imgframe as imf, pandas as pd
        >>> times = pd.date_range("2026-01-01", periods=3, tz="UTC")
        >>> frame = pd.DataFrame({"collected_at": times, "node": "a", "total_bytes": [1, 2, 3]})
        >>> len(imf.charts.growth(frame).lines)
        1
    """
    by = by or str(frame.columns[1])
    style.need(frame, ("collected_at", by, "total_bytes"), "growth")
    ax, colours = style.canvas(ax, theme, f"Bytes over time by {by}", (9.5, 4.8))
    drawn = capacity.lines(frame, by, most)
    if drawn.empty:
        return style.say_empty(ax, colours, "No collections yet: append some to the dataset.")
    for at, (name, line) in enumerate(drawn.groupby(by, sort=False)):
        times, values = line["collected_at"].dt.tz_localize(None).to_numpy(), line["bytes"].to_numpy()
        colour = colours.rest if line["is_rest"].iloc[0] else colours.series[at % len(colours.series)]
        ax.plot(times, values, color=colour, linewidth=1.8, label=style.shorten(name, 26))
        row = _forecast_row(forecast, by, name)
        if row is not None:
            _band(ax, colours, colour, row, times[-1], values[-1])
    style.byte_axis(ax.yaxis)
    style.grid(ax, colours, "y")
    ax.set_ylim(bottom=0)
    _date_axis(ax)
    if len(drawn[by].unique()) > 1 or forecast is not None:
        style.legend(ax, colours, 4)
    return ax


def _forecast_row(forecast: pd.DataFrame | None, by: str, name: str) -> Any:
    if forecast is None or by not in forecast.columns:
        return None
    rows = forecast[forecast[by].astype(str) == name]
    return rows.iloc[0] if len(rows) else None


def _band(ax: Any, colours: style.Theme, colour: str, row: Any, when: Any, value: float) -> None:
    """Draw the threshold, and when it is expected to be reached, at the earliest and at the latest."""
    import pandas as pd

    if pd.isna(row["threshold_bytes"]):
        return
    limit = float(row["threshold_bytes"])
    told = any(line.get_label() == _THRESHOLD for line in ax.lines)
    # no line's own colour: nodes with disks of one size share it
    look = {"color": colours.ink, "alpha": 0.7, "linewidth": 1, "linestyle": (0, (4, 3))}
    ax.axhline(limit, label=None if told else _THRESHOLD, **look)
    if pd.isna(row["days_to_threshold"]) or row["days_to_threshold"] > MOST_DAYS or limit <= value:
        return
    ends = [row["days_to_threshold"], row["days_to_threshold_low"], row["days_to_threshold_high"]]
    expected, early = float(ends[0]), float(ends[1]) if pd.notna(ends[1]) else 0.0
    late = min(float(ends[2]) if pd.notna(ends[2]) else 2 * expected, 3 * expected + 1, MOST_DAYS)
    at = [when + np.timedelta64(int(days * 86_400), "s") for days in (expected, early, late)]
    ax.plot([when, at[0]], [value, limit], color=colour, linewidth=1.4, linestyle=":")
    ax.fill([when, at[1], at[2]], [value, limit, limit], color=colour, alpha=0.14, linewidth=0)


def _date_axis(ax: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def age_against_size(frame: pd.DataFrame, *, now: Any = None, ax: Any = None, theme: str = "light") -> Any:
    """Points: how long each image has been on its node against its unique bytes, used ones set apart; prune from the upper right.

    ``frame``: an images frame: created_at, unique_size, containers, used_by_digest. ``now``: by default the present.

    Example:
        >>> import imgframe as imf, pandas as pd
        >>> row = {"created_at": [pd.Timestamp("2026-01-01", tz="UTC")], "unique_size": [5], "containers": [0], "used_by_digest": [False]}
        >>> imf.charts.age_against_size(pd.DataFrame(row)).get_ylabel()
        'unique bytes of the image'
    """
    style.need(frame, ("created_at", "unique_size", "containers", "used_by_digest"), "age_against_size")
    ax, colours = style.canvas(ax, theme, "Age and size", (8, 5))
    points = capacity.ages(frame, now)
    if points.empty:
        return style.say_empty(ax, colours, "No image with a known age and size.")
    days, sizes, used = (points[name].to_numpy() for name in ("days", "bytes", "in_use"))
    look = {"s": 16, "alpha": 0.65, "linewidths": 0, "rasterized": len(points) > 20_000}
    for mask, at, label in ((~used, 0, "not in use"), (used, 5, "in use")):
        label = f"{label} ({int(mask.sum()):,})"
        ax.scatter(days[mask], sizes[mask], color=colours.series[at], label=label, **look)
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ax.set_yscale("symlog", linthresh=1e6)
    ax.set_ylim(-2e5, max(float(sizes.max()) * 2, 1e7))
    ax.yaxis.set_major_locator(FixedLocator([0, *10.0 ** np.arange(6, 15)]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: human_bytes(value)))
    ax.set_xlabel("days since the record was created", color=colours.ink)
    ax.set_ylabel("unique bytes of the image", color=colours.ink)
    style.grid(ax, colours, "both")
    style.legend(ax, colours)
    return ax


def timeline(frame: pd.DataFrame, *, ax: Any = None, theme: str = "light") -> Any:
    """What changed when: per day one bar up for what was added and one down for what was removed, by kind of change.

    ``frame``: rows as in ``Diff.changes`` (columns change, content_delta) with a column ``date`` or ``collected_at``.

    Example:
        >>> import imgframe as imf, pandas as pd
        >>> frame = pd.DataFrame({"date": ["2026-01-01", "2026-01-02"], "change": ["added", "removed"]})
        >>> imf.charts.timeline(frame).get_title("left")
        'Changes of images by day'
    """
    style.need(frame, ("change", "date" if "date" in frame.columns else "collected_at"), "timeline")
    ax, colours = style.canvas(ax, theme, "Changes of images by day", (9.5, 4.4))
    if frame.empty:
        return style.say_empty(ax, colours, "Nothing changed.")
    counts = capacity.changes_by_day(frame)
    ax.use_sticky_edges = False  # room beyond the longest bars
    up = down = 0.0
    for at, (kind, bars) in enumerate(counts.groupby("change")):
        values = bars["count"].to_numpy(dtype=float)
        falls = bars["falls"].iloc[0]
        bottom = -down - values if falls else up
        again, colour = divmod(at, len(colours.series))  # there are more kinds than colours
        fill = {"color": colours.series[colour], "hatch": "//" if again else None, "edgecolor": colours.paper}
        ax.bar(bars["date"], values, bottom=bottom, width=0.8, label=kind, linewidth=0.4, **fill)
        up, down = (up, down + values) if falls else (up + values, down)
    ax.axhline(0, color=colours.ink, linewidth=0.8)
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    ax.set_ylabel("removed   |   added", color=colours.ink)
    style.grid(ax, colours, "y")
    _date_axis(ax)
    style.legend(ax, colours)
    return ax
