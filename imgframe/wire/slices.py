"""Lists that containerd cannot send in one piece, asked for in slices that together are the whole, each record once.

A reply over 16 MiB fails as a whole, and so does one in which containerd 1.7 or later finds text that is not UTF-8. A
slice is a filter on the record's name; halving it asks for one bit of one letter, counted from the end of the name, where
names differ most: the letters with that bit, and everything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from imgframe.errors import Refused

_PLACES = 96  # letters from the end that are looked at; names rarely differ only before that
_LETTERS = range(1, 128)
_BITS = (0, 1, 2, 3, 4, 6, 5)

Fetch = Callable[[tuple[str, ...]], Awaitable[list[Any]]]


async def sliced(fetch: Fetch, field: str, filters: tuple[str, ...] = ()) -> tuple[list[Any], list[str]]:
    """All records, in slices where containerd cannot send them at once, and the messages of slices that stayed unreadable.

    Args:
        fetch: asks containerd with filters (any of them may match).
        field: of the filter language, holding the record's name: ``name``, ``digest`` or ``id``.
        filters: the caller's own.

    Raises:
        Refused: a single slice is too big and cannot be divided.
    """
    try:
        return await fetch(filters), []
    except Refused as error:
        if not _divisible(error):
            raise
    return await _halved(fetch, field, filters, _questions())


async def _halved(
    fetch: Fetch, field: str, filters: tuple[str, ...], questions: tuple[tuple[str, str], ...]
) -> tuple[list[Any], list[str]]:
    """Both halves of a slice that failed as a whole; the first question divides it, the others what fails again."""
    question, *rest = questions
    halves = await asyncio.gather(
        *(_half(fetch, field, _narrowed(filters, f"{field}~={pattern}"), tuple(rest)) for pattern in question)
    )
    return [row for rows, _ in halves for row in rows], [text for _, texts in halves for text in texts]


async def _half(
    fetch: Fetch, field: str, filters: tuple[str, ...], rest: tuple[tuple[str, str], ...]
) -> tuple[list[Any], list[str]]:
    try:
        return await fetch(filters), []
    except Refused as error:
        if not _divisible(error):
            raise
        if not rest:
            if error.code == "INTERNAL":
                return [], [str(error)]
            raise
    return await _halved(fetch, field, filters, rest)


def _divisible(error: Refused) -> bool:
    """A smaller reply may succeed: it was too big, or one record in it cannot be sent."""
    return error.code == "RESOURCE_EXHAUSTED" or (error.code == "INTERNAL" and "UTF-8" in str(error))


def _narrowed(filters: tuple[str, ...], further: str) -> tuple[str, ...]:
    """Every filter and also the further condition; filters are alternatives, commas inside one mean and."""
    return tuple(f"{one},{further}" if one else further for one in filters or ("",))


def _questions() -> tuple[tuple[str, str], ...]:
    """Pairs of patterns that exclude each other and together match every name, the most telling ones first."""
    return tuple(_pairs())


def _pairs() -> Iterator[tuple[str, str]]:
    for bit in _BITS:
        letters = "".join(f"\\\\x{letter:02x}" for letter in _LETTERS if letter >> bit & 1)
        for place in range(_PLACES):
            yield (
                f'"(?s)[{letters}].{{{place}}}$"',
                f'"(?s)^.{{0,{place}}}$|[^{letters}].{{{place}}}$"',
            )
