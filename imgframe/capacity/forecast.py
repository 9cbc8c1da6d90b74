"""Days until the threshold and until full, from histories that fall like a saw whenever something is pruned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imgframe.capacity.growth import growth
from imgframe.errors import InputError
from imgframe.golang import time as gotime

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.dataset import Dataset  # only the type: this room does not see that one

DAY_NS = 86_400 * 10**9
HALF_LIFE_DAYS = 45.0
"""A change this long ago counts half as much as one of today."""

DROP_FACTOR = 3.0
"""A fall deeper than this many typical daily changes is a prune, not growth."""

LONGEST_DAYS = 1e6
"""What takes longer (2,700 years) never happens."""

FEWEST = 4
"""Intervals between collections that a statement about a trend needs."""


class Trend(NamedTuple):
    """Growth between prunes: bytes per day with a standard error, the daily spread, and how many intervals and prunes."""

    rate: float
    error: float
    spread: float
    intervals: int
    drops: int


def fit_trend(days: np.ndarray, used: np.ndarray, half_life: float = HALF_LIFE_DAYS) -> Trend:
    """The growth between the drops of one history (``days``: increasing floats; ``used``: bytes).

    Sizes are exact, so the changes between collections are the data. A fall deeper than :data:`DROP_FACTOR` typical changes
    is a prune and says nothing about growth; the others are weighted by their age and by the time they span.
    """
    span, change = np.diff(days), np.diff(used.astype(float))
    keep = span > 0
    span, change = span[keep], change[keep]
    per_day = change / span
    rising = per_day[per_day >= 0]
    typical = np.median(rising) if len(rising) else 0.0
    drop = per_day < -DROP_FACTOR * max(typical, 1.0)
    if drop.all():
        return Trend(math.nan, math.nan, math.nan, 0, int(drop.sum()))
    ages = days[-1] - days[1:][keep]
    weight = 0.5 ** (ages / half_life) * span
    weight, span, per_day = weight[~drop], span[~drop], per_day[~drop]
    rate = float(np.average(per_day, weights=weight))
    residual = per_day - rate
    variance = float(np.average(residual**2 * span, weights=weight)) * len(span) / max(len(span) - 1, 1)
    error = math.sqrt(variance * float((weight**2 / span).sum())) / float(weight.sum())
    error = error if len(span) > 1 else math.inf
    return Trend(rate, error, math.sqrt(variance), len(span), int(drop.sum()))


def days_until(need: float, trend: Trend, z: float = 0.0) -> float:
    """Days until ``need`` more bytes are used, at the rate, or at ``z`` standard deviations before or after it.

    The uncertainty is that of the rate (growing with time) and of the daily spread (growing with its square root);
    inf when it is never reached.
    """
    if need <= 0:
        return 0.0

    def short(days: float) -> bool:
        return trend.rate * days + z * math.sqrt(trend.spread**2 * days + (trend.error * days) ** 2) < need

    high = 1.0
    while short(high):
        high *= 2
        if high > LONGEST_DAYS:
            return math.inf
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if short(middle) else (low, middle)
    return high


def forecast(
    dataset: Dataset,
    *,
    threshold: float = 0.85,
    confidence: float = 0.9,
    disk_total: dict[str, int] | None = None,
    max_age: Any = None,
) -> pd.DataFrame:
    """Per node: when the kubelet's GC threshold is reached and when the disk is full, if nothing is pruned.

    ``threshold``: the share of the disk at which image GC begins; ``confidence``: of the intervals; ``disk_total``: bytes per
    node where the node itself does not say; ``max_age``: a Go duration such as ``"720h"``, or a timedelta: a node that was not
    read for longer when the newest collection was made, such as one that was taken out of service, has no row. Used bytes are
    those of the file system where known, else content and snapshots.

    Columns: node, collected_at (newest), used_bytes, disk_total, threshold_bytes, bytes_per_day with ``_low`` and ``_high``,
    days_to_threshold and days_to_full each with ``_low`` and ``_high`` (0: reached already, whatever the trend; NA: not within
    2,700 years, or no trend), trend (``growing``, ``no trend``, ``shrinking`` or ``too few``), prunes (falls seen),
    observations, method. A node that was never read has no row.
    ``no trend``: the interval of the rate contains zero.

    Raises:
        InputError: threshold or confidence not between 0 and 1, or ``max_age`` no length of time.

    Example:
        >>> import imgframe as imf, tempfile
        >>> from imgframe import schema
        >>> root = tempfile.mkdtemp() + "/history"
        >>> for day in range(10):
        ...     nodes = {"node": ["a"], "collected_at": [day * 86_400 * 10**9], "disk_total": [100], "disk_free": [90 - day]}
        ...     _ = imf.dataset.append(root, imf.Inventory({"nodes": schema.table("nodes", nodes)}))
        >>> imf.capacity.forecast(imf.open_dataset(root))[["trend", "days_to_full"]].round(3).values.tolist()
        [['growing', 81.0]]
    """
    import pandas as pd

    if not 0 < threshold <= 1:
        raise InputError(
            f"threshold {threshold!r} is not a share of the disk; expected a number above 0 and at most 1, such as 0.85"
        )
    if not 0 < confidence < 1:
        raise InputError(
            f"confidence {confidence!r} is not a probability; expected a number between 0 and 1, such as 0.9"
        )
    found = growth(dataset).sort_values(["node", "collected_at"])
    known = found[found["disk_used"].notna() | found["total_bytes"].notna()]  # what was not read says nothing
    if max_age is not None:
        known = known[known["node"].isin(_recent(dataset, gotime.to_duration(max_age)))]
    rows = [
        _node_row(str(node), history, threshold, confidence, (disk_total or {}).get(str(node)))
        for node, history in known.groupby("node", observed=True)
    ]
    frame = pd.DataFrame(rows, columns=list(_ROW))
    return frame.astype({name: kind for name, kind in _ROW.items() if kind})


def _recent(dataset: Dataset, max_age: int) -> list[str]:
    """The nodes that were read at most ``max_age`` ns before the newest collection."""
    newest = max((one.collected_at for one in dataset.collections), default=0)
    return [node for node, one in dataset.last()[0].items() if newest - one.collected_at <= max_age]


_SPREAD = ("", "_low", "_high")
_ROW: dict[str, str | None] = {
    "node": "category",
    "collected_at": "datetime64[ns, UTC]",
    "used_bytes": "Int64",
    "disk_total": "Int64",
    "threshold_bytes": "Int64",
    **{
        f"{name}{end}": "Float64"
        for name in ("bytes_per_day", "days_to_threshold", "days_to_full")
        for end in _SPREAD
    },
    "trend": "category",
    "prunes": "Int64",
    "observations": "Int64",
    "method": "category",
}


def _node_row(
    node: str, history: pd.DataFrame, threshold: float, confidence: float, given: int | None
) -> dict[str, object]:
    from statistics import NormalDist

    import pandas as pd

    measured = bool(history["disk_used"].notna().all())
    history = history if measured else history[history["total_bytes"].notna()]
    used = history["disk_used" if measured else "total_bytes"].to_numpy(dtype="int64")
    days = history["collected_at"].astype("int64").to_numpy() / DAY_NS
    trend = fit_trend(days - days[0], used)
    known = history["disk_total"].dropna()
    total = given if given is not None else (int(known.iloc[-1]) if len(known) else None)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    low, high = trend.rate - z * trend.error, trend.rate + z * trend.error
    words = _word(trend, low, high)
    threshold_bytes = None if total is None else int(total * threshold)
    row: dict[str, object] = {
        "node": node,
        "collected_at": history["collected_at"].iloc[-1],
        "used_bytes": int(used[-1]),
        "disk_total": total,
        "threshold_bytes": threshold_bytes,
        **dict(zip([f"bytes_per_day{end}" for end in _SPREAD], _finite(trend.rate, low, high), strict=True)),
        "trend": words,
        "prunes": trend.drops,
        "observations": len(used),
        "method": "growth between prunes of " + ("the file system" if measured else "content and snapshots"),
    }
    for name, limit in (("days_to_threshold", threshold_bytes), ("days_to_full", total)):
        days_left: list[object] = [pd.NA] * 3
        need = math.nan if limit is None else limit - float(used[-1])
        if need <= 0:
            days_left = [0.0] * 3
        elif need > 0 and words == "growing":
            days_left = _finite(*(days_until(need, trend, at) for at in (0.0, z, -z)))
        row |= dict(zip([f"{name}{end}" for end in _SPREAD], days_left, strict=True))
    return row


def _word(trend: Trend, low: float, high: float) -> str:
    if trend.intervals < FEWEST:
        return "too few"
    if low > 0:
        return "growing"
    return "shrinking" if high < 0 else "no trend"


def _finite(*values: float) -> list[object]:
    import pandas as pd

    return [value if math.isfinite(value) else pd.NA for value in values]
