"""The charts below the table, as PNG, without pyplot."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from imgframe import charts
from imgframe.explorer.repository_paths import NAMELESS

if TYPE_CHECKING:
    import pandas as pd

_SIZE = (8.2, 4.9)
_DPI = 120
_BRANCHES = 24
"""How many rectangles can be distinguished and labelled."""


def unique_by_repository(images: pd.DataFrame) -> pd.DataFrame:
    """Unique bytes (those that no other image of the store needs) by repository: columns repository and ``unique_bytes``.

    A target counts once per node and namespace, however many names it has; unknown sizes count 0.

    Example:
        >>> import pandas as pd
        >>> row = {"node": "a", "namespace": "default", "digest": "sha256:1", "repository": "web", "unique_size": 7}
        >>> unique_by_repository(pd.DataFrame([row, row])).to_dict("list")
        {'repository': ['web'], 'unique_bytes': [7]}
    """
    once = images[["node", "namespace", "digest", "repository", "unique_size"]].drop_duplicates(
        ["node", "namespace", "digest"]
    )
    sums = once.groupby("repository", observed=True, dropna=False, sort=True)["unique_size"].sum()
    return sums.rename("unique_bytes").reset_index()


def by_branch(frame: pd.DataFrame, most: int = _BRANCHES) -> pd.DataFrame:
    """The sums of :func:`unique_by_repository` by the longest path prefixes that make at most ``most`` groups.

    Labels omit what all paths have in common; a prefix that stands for several repositories ends in ``/…``.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"repository": ["r.io/a/x", "r.io/a/y", "r.io/b"], "unique_bytes": [1, 2, 4]})
        >>> by_branch(frame)["branch"].tolist(), by_branch(frame, 2)["branch"].tolist()
        (['a/x', 'a/y', 'b'], ['a/…', 'b'])
        >>> by_branch(frame, 2)["unique_bytes"].tolist()
        [3, 4]
    """
    names = frame["repository"].astype("object").where(frame["repository"].notna(), "").tolist()
    ways = [str(name).split("/") if name else [NAMELESS] for name in names]
    deepest = max(map(len, ways), default=0)
    groups = [[tuple(way[:depth]) for way in ways] for depth in range(1, deepest + 1)]
    common = sum(len(set(level)) == 1 for level in groups[:-1])
    fitting = [level for level in groups[common:] if len(set(level)) <= most] or groups[common : common + 1]
    chosen = fitting[-1] if fitting else []
    labels = [
        "/".join(group[common:]) + ("/…" if len(way) > len(group) else "")
        for group, way in zip(chosen, ways, strict=True)
    ]
    sums = frame.assign(branch=labels).groupby("branch", sort=True)["unique_bytes"].sum()
    return sums.reset_index()


def repositories(images: pd.DataFrame, theme: str) -> bytes:
    """A treemap of the repositories of a frame of images, as PNG; by path prefix if there are many.

    Example:
        >>> import imgframe as imf
        >>> repositories(imf.Inventory({}).images, "light")[1:4]
        b'PNG'
    """
    frame = by_branch(unique_by_repository(images))
    axes = charts.treemap(
        frame, by="branch", size="unique_bytes", most=_BRANCHES, ax=_axes(theme), theme=theme
    )
    axes.set_title("Unique bytes by repository", loc="left", fontsize=12, fontweight="bold")
    return _png(axes)


def ages(images: pd.DataFrame, theme: str) -> bytes:
    """The chart of age and size of a frame of images, as PNG.

    Example:
        >>> import imgframe as imf
        >>> ages(imf.Inventory({}).images, "dark")[1:4]
        b'PNG'
    """
    return _png(charts.age_against_size(images, ax=_axes(theme), theme=theme))


def _axes(theme: str) -> Any:
    """Axes on a new figure with the theme's background."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from imgframe.charts.style import THEMES

    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained", facecolor=THEMES[theme].paper)
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _png(axes: Any) -> bytes:
    out = io.BytesIO()
    axes.figure.savefig(out, format="png", dpi=_DPI, facecolor=axes.figure.get_facecolor())
    return out.getvalue()
