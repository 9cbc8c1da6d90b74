"""Areas: the treemap, and the heat maps of layer sharing and of the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from imgframe import capacity
from imgframe.charts import style
from imgframe.inventory import human_bytes

if TYPE_CHECKING:
    import pandas as pd


def treemap(
    frame: pd.DataFrame,
    *,
    by: str | None = None,
    size: str = "physical_bytes",
    most: int = 60,
    ax: Any = None,
    theme: str = "light",
) -> Any:
    """Rectangles whose areas are the bytes of the ``most`` largest groups; the rest is one grey rectangle.

    ``frame``: a column of groups (``by``, default its first) and the column ``size``.

    Example:
        >>> import imgframe as imf, pandas as pd
        >>> ax = imf.charts.treemap(pd.DataFrame({"repository": ["web", "db"], "physical_bytes": [3, 9]}))
        >>> len(ax.patches)
        2
    """
    import squarify
    from matplotlib.patches import Rectangle

    by = by or str(frame.columns[0])
    style.need(frame, (by, size), "treemap")
    ax, colours = style.canvas(ax, theme, f"{size.replace('_', ' ').capitalize()} by {by}", (9, 5.6))
    data = capacity.largest(frame, by, [size], most)
    data = data[data[size] > 0].sort_values(size, ascending=False, kind="stable")
    if data.empty:
        return style.say_empty(ax, colours, "No bytes: nothing to draw.")
    boxes = squarify.squarify(squarify.normalize_sizes(data[size].tolist(), 160, 100), 0, 0, 160, 100)
    rows = zip(boxes, data[by], data[size], data["is_rest"], strict=True)
    for at, (box, name, value, is_rest) in enumerate(rows):
        fill = colours.rest if is_rest else colours.series[at % len(colours.series)]
        place = (box["x"], box["y"]), box["dx"], box["dy"]
        ax.add_patch(Rectangle(*place, facecolor=fill, edgecolor=colours.paper, linewidth=1.4))
        _label_box(ax, box, style.shorten(name, max(int(box["dx"] / 1.7), 4)), human_bytes(value, 3), fill)
    ax.set_xlim(0, 160)
    ax.set_ylim(100, 0)
    style.hide_axes(ax)
    return ax


def _label_box(ax: Any, box: dict[str, float], name: str, size: str, fill: str) -> None:
    """Write name and size into a rectangle if they fit, in an ink that is legible on its colour."""
    if box["dx"] < 11 or box["dy"] < 5:
        return
    ink = _ink_on(fill)
    at = (box["x"] + 1.2, box["y"] + 1.2)
    ax.text(*at, name, va="top", fontsize=8, color=ink, fontweight="bold", clip_on=True)
    if box["dy"] >= 10:
        ax.text(at[0], at[1] + 4.2, size, va="top", fontsize=8, color=ink, clip_on=True)


def _ink_on(fill: Any) -> str:
    """Black or white, whichever has the higher contrast on the colour."""
    from matplotlib.colors import to_rgb

    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(fill)]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if light > 0.179 else "#ffffff"


def layer_sharing(matrix: pd.DataFrame, *, most: int = 30, ax: Any = None, theme: str = "light") -> Any:
    """Heat map of the bytes that each pair of images shares, for the ``most`` images with the largest sums.

    ``matrix``: a square frame of bytes with images as index and columns, as from ``capacity.layer_sharing``.

    Example:
        >>> import imgframe as imf, pandas as pd
        >>> matrix = pd.DataFrame([[5, 2], [2, 9]], index=["a", "b"], columns=["a", "b"])
        >>> imf.charts.layer_sharing(matrix).get_title("left")
        'Bytes that images share'
    """
    chosen = capacity.fullest(matrix, matrix.columns, most).index
    hidden = len(matrix) - len(chosen)
    title = "Bytes that images share" + (f" (the {len(chosen)} largest of {len(matrix):,})" if hidden else "")
    cells = 0.26 * max(len(chosen), 6)
    ax, colours = style.canvas(ax, theme, title, (3.6 + cells, 2.4 + cells))
    if not len(chosen):
        return style.say_empty(ax, colours, "No images: nothing is shared.")
    data = matrix.loc[chosen, chosen].astype(float).to_numpy()
    names = [style.shorten(name, 26) for name in chosen]
    return _heat(ax, colours, data, names, names)


def _heat(ax: Any, colours: style.Theme, data: np.ndarray, rows: list[str], columns: list[str]) -> Any:
    """A heat map with byte-scaled colours and a colour bar."""
    from matplotlib.ticker import FuncFormatter

    image = ax.imshow(np.ma.masked_invalid(data), cmap=colours.scale, aspect="auto", vmin=0)
    turned = {"rotation": 90, "ha": "center"} if len(columns) > 8 else {"rotation": 30, "ha": "right"}
    ax.set_xticks(range(len(columns)), columns, **turned)
    ax.set_yticks(range(len(rows)), rows)
    units = FuncFormatter(lambda value, _: human_bytes(value, 3))
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, format=units)
    bar.ax.tick_params(colors=colours.ink, labelsize=8, length=0)
    bar.outline.set_visible(False)
    if data.size <= 100:
        for (row, column), value in np.ndenumerate(data):
            if np.isfinite(value):
                ink = _ink_on(image.cmap(image.norm(value)))
                ax.text(column, row, human_bytes(value, 3), ha="center", va="center", fontsize=8, color=ink)
    style.hide_spines(ax)
    return ax


def fleet(frame: pd.DataFrame, *, most: int = 40, ax: Any = None, theme: str = "light") -> Any:
    """Heat map of the nodes: one row per node, one column per kind of bytes.

    ``frame``: a column ``node`` and columns ending in ``_bytes``, as from ``capacity.by_node``; the ``most`` fullest nodes are shown.

    Example:
        >>> import imgframe as imf, pandas as pd
        >>> frame = pd.DataFrame({"node": ["a"], "unique_bytes": [3], "shared_bytes": [1]})
        >>> [tick.get_text() for tick in imf.charts.fleet(frame).get_xticklabels()]
        ['unique', 'shared']
    """
    style.need(frame, ("node",), "fleet")
    columns = [str(name) for name in frame.columns if str(name).endswith("_bytes")]
    rows = capacity.fullest(frame, columns, most)
    most_only = f" (the {len(rows)} fullest of {len(frame):,})" if len(rows) < len(frame) else ""
    size = (4.4 + 0.9 * max(len(columns), 3), 1.8 + 0.28 * max(len(rows), 5))
    ax, colours = style.canvas(ax, theme, f"Bytes by node{most_only}", size)
    if not len(rows) or not columns:
        return style.say_empty(ax, colours, "No nodes: nothing to draw.")
    data = rows[columns].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    names = [style.shorten(node, 28) for node in rows["node"]]
    return _heat(ax, colours, data, names, [c.removesuffix("_bytes").replace("_", " ") for c in columns])
