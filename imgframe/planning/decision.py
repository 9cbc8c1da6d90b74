"""What planning decides, as the tables of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

    from imgframe.reclaiming import Reclaim


class Decision(NamedTuple):
    """The steps, what was asked for and is kept with the reason, and, where the steps delete, what they free.

    ``shortfall_bytes``: by how much a target is missed on all nodes together; None: there is no target. ``notes``: sentences
    about nodes whose target cannot be reached, or is reached already.
    """

    steps: pa.Table
    kept: pa.Table
    freed: Reclaim | None = None
    shortfall_bytes: int | None = None
    notes: tuple[str, ...] = ()
