"""Lists that containerd cannot send in one piece, asked for in slices that together are the whole, each record once.

A reply over 16 MiB fails as a whole, and so does one in which containerd 1.7 or later finds text that is not UTF-8. A
slice is a filter on the record's name. Dividing it asks for one bit of one letter, counted from the end of the name, where
names differ most: the names whose letter has that bit, and all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from imgframe.errors import Refused

_PLACES = 64  # letters from the end that are looked at; names rarely differ only before that
_BITS = (0, 1, 2, 3, 4, 6, 5)  # of a letter's ASCII code, the most telling ones first
_QUESTIONS = [(bit, place) for bit in _BITS for place in range(_PLACES)]

Fetch = Callable[[tuple[str, ...]], Awaitable[list[Any]]]


async def sliced(
    fetch: Fetch, field: str, filters: tuple[str, ...] = ()
) -> tuple[list[Any], list[tuple[str, str]]]:
    """All records, in slices where containerd cannot send them at once.

    Beside them the records that it cannot send at all: their names, as far as found out, and its reason.

    Args:
        fetch: asks containerd with filters (any of them may match).
        field: of the filter language, holding the record's name: ``name``, ``digest`` or ``id``.
        filters: the caller's own.

    Raises:
        Refused: a slice is too big and cannot be divided any more.
    """
    whole = await _attempt(fetch, filters)
    if isinstance(whole, list):
        return whole, []
    return await _divided(fetch, field, filters, 0, {})


async def _divided(
    fetch: Fetch, field: str, filters: tuple[str, ...], start: int, known: dict[int, int]
) -> tuple[list[Any], list[tuple[str, str]]]:
    """The records of a slice that failed as a whole; ``known`` holds the letters' bits by place, found so far."""
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
        if sent[0]:  # the other half held something: from here on only the failing one
            filters = halves[0] if failure is having else halves[1]
    assert failure is not None, "a slice is divided only after it failed"
    if failure.code != "INTERNAL":
        raise failure
    return rows, [(_name(known), str(failure))]


async def _attempt(fetch: Fetch, filters: tuple[str, ...]) -> list[Any] | Refused:
    """A slice's records, or why a smaller one may succeed: it was too big, or one record in it cannot be sent."""
    try:
        return await fetch(filters)
    except Refused as error:
        if error.code == "RESOURCE_EXHAUSTED" or (error.code == "INTERNAL" and "UTF-8" in str(error)):
            return error
        raise


def _narrowed(filters: tuple[str, ...], further: str) -> tuple[str, ...]:
    """Every filter and also the further condition; filters are alternatives, commas inside one mean and."""
    return tuple(f"{one},{further}" if one else further for one in filters or ("",))


def _patterns(bit: int, place: int) -> tuple[str, str]:
    """Two regular expressions, quoted as Go reads them, that exclude each other and together match every name."""
    letters = "".join(f"\\\\x{letter:02x}" for letter in range(1, 128) if letter >> bit & 1)
    return f'"(?s)[{letters}].{{{place}}}$"', f'"(?s)^.{{0,{place}}}$|[^{letters}].{{{place}}}$"'


def _name(known: dict[int, int]) -> str:
    """The end of a name, from the bits of its letters."""
    letters: list[str] = []
    for place in range(_PLACES):
        code = known.get(place, 0)
        if code == 0:
            return "".join(reversed(letters))
        letters.append(chr(code))
    return "..." + "".join(reversed(letters))
