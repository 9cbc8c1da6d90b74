"""The charts beside the table, drawn to PNG without pyplot."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from imgframe import charts

if TYPE_CHECKING:
    import pandas as pd

_SIZE = (8.2, 4.9)
_DPI = 120


def alone_by_repository(images: pd.DataFrame) -> pd.DataFrame:
    """Bytes that no other image of the store needs, by repository: columns repository and ``unique_bytes``.

    A target counts once for each node and namespace, however many names it has; unknown sizes count nothing.

    Example:
        >>> import pandas as pd
        >>> row = {"node": "a", "namespace": "default", "digest": "sha256:1", "repository": "web", "unique_size": 7}
        >>> alone_by_repository(pd.DataFrame([row, row])).to_dict("list")
        {'repository': ['web'], 'unique_bytes': [7]}
    """
    once = images[["node", "namespace", "digest", "repository", "unique_size"]].drop_duplicates(
        ["node", "namespace", "digest"]
    )
    sums = once.groupby("repository", observed=True, dropna=False, sort=True)["unique_size"].sum()
    return sums.rename("unique_bytes").reset_index()


def repositories(images: pd.DataFrame, theme: str) -> bytes:
    """A treemap of the repositories of a frame of images, as PNG.

    Example:
        >>> import imgframe as imf
        >>> repositories(imf.Inventory({}).images, "light")[1:4]
        b'PNG'
    """
    frame = alone_by_repository(images)
    hosts = {str(name).partition("/")[0] for name in frame["repository"].dropna() if "/" in str(name)}
    if len(hosts) == 1:  # it says nothing that the tree does not say
        frame["repository"] = frame["repository"].astype("str").str.removeprefix(f"{hosts.pop()}/")
    axes = charts.treemap(frame, by="repository", size="unique_bytes", most=14, ax=_axes(theme), theme=theme)
    axes.set_title(
        "Bytes that only one image needs, by repository", loc="left", fontsize=12, fontweight="bold"
    )
    return _png(axes)


def ages(images: pd.DataFrame, theme: str) -> bytes:
    """Age against size of a frame of images, as PNG.

    Example:
        >>> import imgframe as imf
        >>> ages(imf.Inventory({}).images, "dark")[1:4]
        b'PNG'
    """
    return _png(charts.age_against_size(images, ax=_axes(theme), theme=theme))


def _axes(theme: str) -> Any:
    """Axes on a figure of our own, in the colour of the theme's paper."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from imgframe.charts.look import THEMES

    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained", facecolor=THEMES[theme].paper)
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _png(axes: Any) -> bytes:
    out = io.BytesIO()
    axes.figure.savefig(out, format="png", dpi=_DPI, facecolor=axes.figure.get_facecolor())
    return out.getvalue()
