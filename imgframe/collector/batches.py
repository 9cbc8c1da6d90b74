"""Calls in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 3000
"""Calls in flight on all nodes together; each takes 20 kB."""


def size_per_node(nodes: int) -> int:
    """Calls in flight on each of a number of nodes."""
    return max(32, IN_FLIGHT // max(1, nodes))


async def in_batches(size: int, work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """The results of ``work`` for all items, ``size`` of them in flight at a time.

    Example:
        >>> import asyncio
        >>> from imgframe.collector.batches import in_batches
        >>> async def double(n):
        ...     return 2 * n
        >>> asyncio.run(in_batches(2, double, [1, 2, 3]))
        [2, 4, 6]
    """
    results: list[R] = []
    for start in range(0, len(items), size):
        results += await asyncio.gather(*map(work, items[start : start + size]))
    return results
