"""The explorer: filter, inspect and select the images of an inventory in JupyterLab, and make a plan; applying it stays in code.

Nothing here accesses a node: an explorer works on an :class:`~imgframe.Inventory` and returns frames and a Plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgframe.errors import InputError, MissingExtra
from imgframe.inventory import Inventory

if TYPE_CHECKING:
    from imgframe.explorer.explorer import Explorer

__all__ = ["explore"]


def explore(inventory: Inventory) -> Explorer:
    """An explorer of the images of ``inventory``; as the last line of a notebook cell it displays itself.

    It has a filter box (for the values of nerdctl's ``--filter``, with its errors), the tree of repositories, a paged table, charts
    of the rows shown, what the selected images free and who holds the rest, and a button that makes a Plan. The next cell reads
    ``explorer.images``, ``explorer.selection``, ``explorer.freed`` and ``explorer.plan``. Where widgets cannot be shown, a plain
    table appears instead and says why.

    Raises:
        InputError: not an Inventory.
        MissingExtra: anywidget is not installed.

    Example:
        >>> import imgframe as imf
        >>> explorer = imf.explore(imf.Inventory({}))
        >>> explorer.filter = "label"
        >>> explorer.error.partition(";")[0]
        'invalid filter "label"'
    """
    if not isinstance(inventory, Inventory):
        raise InputError(
            f"explore needs an Inventory, as imgframe.collect returns it; got {type(inventory).__name__}"
        )
    try:
        import anywidget  # noqa: F401 -- imported here, so that the error names the extra
    except ImportError:
        raise MissingExtra("anywidget", "explorer") from None
    from imgframe.explorer.explorer import Explorer

    return Explorer(inventory)
