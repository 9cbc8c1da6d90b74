"""Lists that containerd cannot send in one reply, fetched in disjoint slices.

A reply of more than 16 MiB fails as a whole, and so does one in which containerd 1.7 or later finds text that is not UTF-8.
A slice is a filter on the record's name. It is divided by one bit of one letter, counted from the end of the name, where
names differ most: the names whose letter has that bit, and all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from imgframe.errors import Refused

_PLACES = 64  # letters from the end that are compared; names rarely differ only before them
_BITS = (0, 1, 2, 3, 4, 6, 5)  # of a letter's ASCII code, the most distinctive ones first
_QUESTIONS = [(bit, place) for bit in _BITS for place in range(_PLACES)]

Fetch = Callable[[tuple[str, ...]], Awaitable[list[Any]]]


async def sliced(
    fetch: Fetch, field: str, filters: tuple[str, ...] = ()
) -> tuple[list[Any], list[tuple[str, str]]]:
    """All records, in slices if containerd cannot send them at once, and those that it cannot send at all.

    The latter are the ends of their names, as far as known, and the reason.

    Args:
        fetch: lists the records that match any of the given filters.
        field: of the filter language that holds the record's name: ``name``, ``digest`` or ``id``.
        filters: the caller's.

    Raises:
        Refused: a slice is too large and cannot be divided further.
    """
    whole = await _attempt(fetch, filters)
    if isinstance(whole, list):
        return whole, []
    return await _divided(fetch, field, filters, 0, {})


async def _divided(
    fetch: Fetch, field: str, filters: tuple[str, ...], start: int, known: dict[int, int]
) -> tuple[list[Any], list[tuple[str, str]]]:
    """The records of a slice that failed as a whole; ``known`` holds the bits of letters found so far, by place."""
    rows: list[Any] = []
    failure = None
    for asked, (bit, place) in enumerate(_QUESTIONS[start:], start + 1):
        halves = [_narrowed(filters, f"{field}~={pattern}") for pattern in _patterns(bit, place)]
        having, lacking = await asyncio.gather(*(_attempt(fetch, half) for half in halves))
        if isinstance(having, Refused) and isinstance(lacking, Refused):
            further = [known | {place: known.get(place, 0) | 1 << bit}, known]
            parts = await asyncio.gather(
                *(
                    _divided(fetch, field, half, asked, found)
                    for half, found in zip(halves, further, strict=True)
                )
            )
            return rows + [row for part, _ in parts for row in part], [
                one for _, lost in parts for one in lost
            ]
        sent = [half for half in (having, lacking) if isinstance(half, list)]
        rows += [row for half in sent for row in half]
        if len(sent) == 2:
            return rows, []
        if isinstance(having, Refused):
            failure, known = having, known | {place: known.get(place, 0) | 1 << bit}
        elif isinstance(lacking, Refused):
            failure = lacking
        if sent[0]:  # the other half was not empty: continue with the failing one
            filters = halves[0] if failure is having else halves[1]
    assert failure is not None, "only a slice that failed is divided"
    if failure.code != "INTERNAL":
        raise failure
    return rows, [(_name(known), str(failure))]


async def _attempt(fetch: Fetch, filters: tuple[str, ...]) -> list[Any] | Refused:
    """The records of a slice, or the error if a smaller slice may succeed: too large, or with a record that cannot be sent."""
    try:
        return await fetch(filters)
    except Refused as error:
        if error.code == "RESOURCE_EXHAUSTED" or (error.code == "INTERNAL" and "UTF-8" in str(error)):
            return error
        raise


def _narrowed(filters: tuple[str, ...], further: str) -> tuple[str, ...]:
    """Every filter with a further condition; a comma means and, several filters mean or."""
    return tuple(f"{one},{further}" if one else further for one in filters or ("",))


def _patterns(bit: int, place: int) -> tuple[str, str]:
    """Two regular expressions, quoted for Go, of which every name matches exactly one."""
    letters = "".join(f"\\\\x{letter:02x}" for letter in range(1, 128) if letter >> bit & 1)
    return f'"(?s)[{letters}].{{{place}}}$"', f'"(?s)^.{{0,{place}}}$|[^{letters}].{{{place}}}$"'


def _name(known: dict[int, int]) -> str:
    """The end of a name from the bits of its letters."""
    letters: list[str] = []
    for place in range(_PLACES):
        code = known.get(place, 0)
        if code == 0:
            return "".join(reversed(letters))
        letters.append(chr(code))
    return "..." + "".join(reversed(letters))
