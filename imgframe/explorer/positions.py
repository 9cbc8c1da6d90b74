"""The trait that holds the selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets


class Positions(traitlets.TraitType):
    """Positions in ``inventory.images`` of the object that has the trait: a sorted tuple of integers, each once.

    Any iterable of integers may be assigned; what is none, or lies outside of the table, is a ``TraitError``.

    Example:
        >>> import imgframe as imf
        >>> explorer = imf.explore(imf.Inventory({}))
        >>> explorer.selected = [0]
        Traceback (most recent call last):
        ...
        traitlets.traitlets.TraitError: position 0 lies outside of inventory.images, which has 0 rows
    """

    default_value = ()

    def validate(self, obj: Any, value: Any) -> tuple[int, ...]:
        """The value as a sorted tuple."""
        try:
            given = np.asarray(list(value))
        except (TypeError, ValueError):
            given = np.array(None)
        if given.ndim != 1 or (len(given) and given.dtype.kind not in "iu"):
            raise traitlets.TraitError(f"{value!r} are not positions in inventory.images; expected integers")
        count = obj.inventory.arrow("images").num_rows
        for bound in (given.min(), given.max()) if len(given) else ():
            if not 0 <= bound < count:
                raise traitlets.TraitError(
                    f"position {bound} lies outside of inventory.images, which has {count:,} rows"
                )
        return tuple(np.unique(given).tolist())
