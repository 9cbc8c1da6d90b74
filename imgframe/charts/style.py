"""The style of every chart: colours, units, short names, the empty chart, and Axes without pyplot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgframe.errors import InputError, MissingColumn
from imgframe.inventory import human_bytes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one theme; the series are distinguishable with every common colour blindness (after Okabe and Ito)."""

    paper: str
    ink: str
    faint: str
    rest: str
    series: tuple[str, ...]
    scale: str


LIGHT = Theme(
    "#ffffff",
    "#20262c",
    "#d9dee3",
    "#b4bcc4",
    ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a8100"),
    "Blues",
)
DARK = Theme(
    "#16191d",
    "#e6e9ec",
    "#343a41",
    "#5c6670",
    ("#4ba3dc", "#f2b440", "#2fc596", "#e09bc3", "#9ad4f5", "#f08646", "#d8cf4a"),
    "bone",
)
THEMES = {"light": LIGHT, "dark": DARK}


def canvas(ax: Any, theme: str, title: str, size: tuple[float, float] = (9.0, 5.0)) -> tuple[Any, Theme]:
    """The Axes to draw into, new if none is given, with a title on the left, and the colours of the theme.

    Raises:
        InputError: no such theme.
    """
    if theme not in THEMES:
        raise InputError(f"theme {theme!r} is unknown; expected light or dark")
    colours = THEMES[theme]
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=size, layout="constrained", facecolor=colours.paper).add_subplot()
    ax.set_facecolor(colours.paper)
    ax.set_title(title, loc="left", color=colours.ink, fontsize=12, fontweight="bold")
    ax.tick_params(colors=colours.ink, labelsize=9, length=0)
    for name, spine in ax.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(colours.faint)
    return ax, colours


def need(frame: pd.DataFrame, columns: tuple[str, ...], chart: str) -> None:
    """Raise MissingColumn if a frame lacks one of the columns."""
    for column in columns:
        if column not in frame.columns:
            raise MissingColumn(column, f"charts.{chart}", frame.columns)


def say_empty(ax: Any, colours: Theme, sentence: str) -> Any:
    """The Axes, showing one sentence instead of data."""
    hide_axes(ax)
    middle = {"ha": "center", "va": "center", "transform": ax.transAxes}
    ax.text(0.5, 0.5, sentence, color=colours.ink, fontsize=11, wrap=True, **middle)
    return ax


def hide_spines(ax: Any) -> None:
    """Draw no frame around the plot."""
    for spine in ax.spines.values():
        spine.set_visible(False)


def hide_axes(ax: Any) -> None:
    """Draw neither ticks nor a frame."""
    ax.set_xticks([])
    ax.set_yticks([])
    hide_spines(ax)


def annotate(ax: Any, colours: Theme, value: float, at: tuple[float, float], **where: Any) -> None:
    """Write bytes beside the end of a bar."""
    ax.annotate(human_bytes(value, 3), at, textcoords="offset points", color=colours.ink, **where)


def byte_axis(axis: Any) -> None:
    """Put ticks on an axis at round numbers of decimal byte units."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: human_bytes(value)))


def grid(ax: Any, colours: Theme, axis: str) -> None:
    """Draw faint lines across one axis, behind the data."""
    ax.grid(axis=axis, color=colours.faint, linewidth=0.6)
    ax.set_axisbelow(True)


def shorten(text: object, most: int = 32) -> str:
    """The text, without its middle if it is longer than ``most`` characters; control characters become blanks.

    A missing name is the group that no image needs; an empty one is the group without such a name.

    Example:
        >>> shorten("registry.example/platform/payments-api:2026", 24)
        'registry.exa…ts-api:2026'
    """
    if text is None or text != text:  # noqa: PLR0124 -- NaN
        return "(no image)"
    if text == "":
        return "(none)"
    clean = "".join(char if char.isprintable() else " " for char in str(text)).replace("$", r"\$")
    if len(clean) <= most:
        return clean
    front = most // 2
    return f"{clean[:front]}…{clean[len(clean) - (most - 1 - front) :]}"


def legend(ax: Any, colours: Theme, columns: int = 6) -> None:
    """Add a legend below the plot, where it hides no data, in the theme's ink."""
    from matplotlib.transforms import ScaledTranslation

    inches = -0.5 if ax.get_xlabel() else -0.3
    below = ax.transAxes + ScaledTranslation(0, inches, ax.figure.dpi_scale_trans)
    look = {"frameon": False, "fontsize": 9, "labelcolor": colours.ink, "ncols": columns, "borderaxespad": 0}
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, **look)
