"""The trait for a selection of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets


class Positions(traitlets.TraitType):
    """Positions in the ``inventory.images`` of the object with the trait: a sorted tuple of distinct integers.

    Any iterable of integers may be assigned; anything else, or a position outside the table, is a ``TraitError``.

    Example:
        >>> import imgframe as imf
        >>> explorer = imf.explore(imf.Inventory({}))
        >>> explorer.selected = [0]
        Traceback (most recent call last):
        ...
        traitlets.traitlets.TraitError: position 0 is outside inventory.images, which has 0 rows
    """

    default_value = ()

    def validate(self, obj: Any, value: Any) -> tuple[int, ...]:
        """The value as a sorted tuple."""
        try:
            given = np.asarray(list(value))
        except (TypeError, ValueError):
            given = np.array(None)
        if given.ndim != 1 or (len(given) and given.dtype.kind not in "iu"):
            raise traitlets.TraitError(
                f"{value!r} is not a list of positions in inventory.images; expected integers"
            )
        count = obj.inventory.arrow("images").num_rows
        for bound in (given.min(), given.max()) if len(given) else ():
            if not 0 <= bound < count:
                raise traitlets.TraitError(
                    f"position {bound} is outside inventory.images, which has {count:,} rows"
                )
        return tuple(np.unique(given).tolist())
