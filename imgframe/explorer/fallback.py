"""What replaces the explorer where widgets cannot be shown: a plain table, and the reason."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

WHY = (
    "This view shows no Jupyter widgets (no kernel is running, the output was saved, or jupyterlab-widgets and anywidget are not "
    "installed with the front end), so here is a plain table; explorer.filter, .selected and .make_plan() still work in code."
)
_ROWS = 20
_COLUMNS = (
    "node",
    "namespace",
    "name",
    "created_at",
    "content_size",
    "unpacked_size",
    "unique_size",
    "containers",
)


def _heading(images: pd.DataFrame) -> str:
    shown = min(len(images), _ROWS)
    return f"{WHY} {shown:,} of {len(images):,} images:"


def plain_text(images: pd.DataFrame) -> str:
    """The reason and the first rows as text.

    Example:
        >>> import imgframe as imf
        >>> plain_text(imf.Inventory({}).images).endswith("0 of 0 images:")
        True
    """
    table = images[list(_COLUMNS)].head(_ROWS)
    return f"{_heading(images)}\n{table.to_string(index=False)}" if len(table) else _heading(images)


def plain_html(images: pd.DataFrame) -> str:
    """The reason and the first rows as HTML; names are escaped.

    Example:
        >>> import imgframe as imf
        >>> plain_html(imf.Inventory({}).images).startswith("<p>This view shows no Jupyter widgets")
        True
    """
    table = images[list(_COLUMNS)].head(_ROWS)
    return f"<p>{escape(_heading(images))}</p>{table.to_html(index=False, escape=True, border=0)}"
