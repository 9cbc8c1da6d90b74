"""Tidy frames with as many rows as a reader can take in: the largest groups, the rest added up; what the charts draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

FALLING = frozenset({"removed", "content dropped", "snapshots dropped", "use ended", "unpinned"})
"""Changes by which something goes."""


def numbers(values: Any) -> np.ndarray:
    """A column as floats; unknown counts as nothing."""
    return np.asarray(values.astype("Float64").fillna(0).to_numpy(dtype=float))


def largest(frame: pd.DataFrame, by: str, columns: Sequence[str], most: int) -> pd.DataFrame:
    """The ``most`` largest rows by the sum of ``columns``; from there on one row that adds up the rest and says so.

    Columns ``by``, ``columns`` (floats; unknown counts as nothing) and ``is_rest``.

    Example:
        >>> import pandas as pd
        >>> from imgframe import capacity
        >>> frame = pd.DataFrame({"repository": list("abcd"), "unique_bytes": [1, 9, 5, 2]})
        >>> capacity.largest(frame, "repository", ["unique_bytes"], 3).values.tolist()
        [['b', 9.0, False], ['c', 5.0, False], ['2 others', 3.0, True]]
    """
    import pandas as pd

    data = pd.DataFrame(
        {by: frame[by].astype("object"), **{column: numbers(frame[column]) for column in columns}}
    )
    data = data.loc[_fullest(data, columns)].reset_index(drop=True).assign(is_rest=False)
    if len(data) <= most:
        return data
    tail = {by: f"{len(data) - most + 1:,} others", **data.iloc[most - 1 :][list(columns)].sum()}
    return pd.concat([data.iloc[: most - 1], pd.DataFrame([{**tail, "is_rest": True}])], ignore_index=True)


def fullest(frame: pd.DataFrame, columns: Sequence[str], most: int) -> pd.DataFrame:
    """The ``most`` rows with the largest sum of ``columns``, unchanged, largest first.

    Example:
        >>> import pandas as pd
        >>> from imgframe import capacity
        >>> frame = pd.DataFrame({"node": ["a", "b"], "unique_bytes": [1, 2], "shared_bytes": [5, 1]})
        >>> capacity.fullest(frame, ["unique_bytes", "shared_bytes"], 1)["node"].tolist()
        ['a']
    """
    return frame.loc[_fullest(frame, columns)[:most]]


def _fullest(frame: pd.DataFrame, columns: Sequence[str]) -> Any:
    values = frame[list(columns)].astype("Float64").fillna(0)
    return values.sum(axis=1).sort_values(ascending=False, kind="stable").index


def lines(growth: pd.DataFrame, by: str, most: int) -> pd.DataFrame:
    """Bytes over time of the ``most`` groups that are largest at the end; where there are more, the last line is their sum.

    ``growth``: as :func:`imgframe.capacity.growth` gives it; bytes are ``disk_used`` where it is known throughout, else
    ``total_bytes``, and times at which that is unknown are left out. Columns ``by``, collected_at, bytes and ``is_rest``; lines one after the other, the largest first.

    Example:
        >>> import pandas as pd
        >>> from imgframe import capacity
        >>> times = pd.to_datetime(["2026-01-01"] * 3, utc=True)
        >>> frame = pd.DataFrame({"collected_at": times, "node": list("abc"), "total_bytes": [1, 5, 2]})
        >>> capacity.lines(frame, "node", 2)[["node", "bytes"]].values.tolist()
        [['b', 5.0], ['2 others together', 3.0]]
    """
    import pandas as pd

    known = "disk_used" in growth.columns and bool(growth["disk_used"].notna().all())
    growth = growth[growth["disk_used" if known else "total_bytes"].notna()]
    data = pd.DataFrame(
        {
            by: growth[by].astype("str").astype("object"),
            "collected_at": growth["collected_at"],
            "bytes": numbers(growth["disk_used" if known else "total_bytes"]),
        }
    ).sort_values("collected_at")
    last = data.groupby(by, observed=True)["bytes"].last().sort_values(ascending=False, kind="stable")
    shown = list(last.index[:most] if len(last) <= most else last.index[: most - 1])
    parts = [data[data[by] == name].assign(is_rest=False) for name in shown]
    if len(last) > most:
        rest = data[~data[by].isin(shown)].groupby("collected_at", as_index=False)["bytes"].sum()
        parts.append(rest.assign(**{by: f"{len(last) - len(shown):,} others together", "is_rest": True}))
    return pd.concat([data[:0].assign(is_rest=False), *parts], ignore_index=True)


def ages(images: pd.DataFrame, now: Any = None) -> pd.DataFrame:
    """How long each image has been here, what it takes alone, and whether it is in use; where age and size are known.

    ``images``: created_at, unique_size, containers, used_by_digest. ``now``: default the present. Columns days, bytes
    (floats) and in_use, on the index of ``images``.

    Example:
        >>> import pandas as pd
        >>> from imgframe import capacity
        >>> row = {"created_at": [pd.Timestamp("2026-01-01", tz="UTC")], "unique_size": [5], "containers": [0], "used_by_digest": [True]}
        >>> capacity.ages(pd.DataFrame(row), now="2026-01-03T00:00:00Z").values.tolist()
        [[2.0, 5.0, True]]
    """
    import pandas as pd

    known = images[images["created_at"].notna() & images["unique_size"].notna()]
    moment = pd.Timestamp.now("UTC") if now is None else pd.Timestamp(now)
    named = known["used_by_digest"].astype("boolean").fillna(False).to_numpy(dtype=bool)
    return pd.DataFrame(
        {
            "days": (moment - known["created_at"]).dt.total_seconds().to_numpy(dtype=float) / 86_400,
            "bytes": numbers(known["unique_size"]),
            "in_use": (numbers(known["containers"]) > 0) | named,
        },
        index=known.index,
    )


def changes_by_day(changes: pd.DataFrame) -> pd.DataFrame:
    """How many changes of each kind there were on each day in UTC.

    ``changes``: rows as in ``Diff.changes`` (column change) with a column ``date`` or ``collected_at``. Columns date (without
    a zone), change, count, and ``falls``: something went. Every kind has a row for every day on which anything changed.

    Example:
        >>> import pandas as pd
        >>> from imgframe import capacity
        >>> frame = pd.DataFrame({"date": ["2026-01-01", "2026-01-01"], "change": ["added", "removed"]})
        >>> capacity.changes_by_day(frame)[["change", "count", "falls"]].values.tolist()
        [['added', 1, False], ['removed', 1, True]]
    """
    import pandas as pd

    when = "date" if "date" in changes.columns else "collected_at"
    table = pd.crosstab(_days(changes[when]).rename("date"), changes["change"].astype("str"))
    counted = table.reset_index().melt(id_vars="date", var_name="change", value_name="count")
    return counted.assign(falls=counted["change"].isin(FALLING))


def _days(values: Any) -> Any:
    """The UTC day of each time, without a zone; text and categories of dates are read."""
    import pandas as pd

    if not isinstance(values.dtype, pd.DatetimeTZDtype):
        values = pd.to_datetime(values.astype("str"), utc=True, format="ISO8601")
    return values.dt.tz_convert("UTC").dt.tz_localize(None).dt.normalize()
