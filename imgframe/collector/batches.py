"""Many small calls, thousands at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 3000
"""Calls in flight at a time, over all nodes: few enough for the memory (20 kB each), enough that waking up costs nothing."""


def wave_size(nodes: int) -> int:
    """Calls in flight on each of so many nodes."""
    return max(32, IN_FLIGHT // max(1, nodes))


async def in_waves(size: int, work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """The results of ``work`` for each item, ``size`` of them in flight at a time.

    Example:
        >>> import asyncio
        >>> from imgframe.collector.batches import in_waves
        >>> async def double(n):
        ...     return 2 * n
        >>> asyncio.run(in_waves(2, double, [1, 2, 3]))
        [2, 4, 6]
    """
    results: list[R] = []
    for start in range(0, len(items), size):
        results += await asyncio.gather(*map(work, items[start : start + size]))
    return results
