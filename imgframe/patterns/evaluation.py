"""RE2 over many texts in bounded time and memory."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe.errors import FilterError

_SMALL = (
    100  # instructions; a pattern of this size takes less than a second over 50,000 names in the worst case
)
_LARGEST = 60_000  # instructions
_SECONDS = 1.2  # for a larger one, over up to _BYTES of text
_BYTES = 3_000_000
_FIRST = 50_000  # bytes of the first step


class Clock:
    """The time that one pattern may take over some texts; :meth:`check` ends a pattern that takes longer."""

    def __init__(self, pattern: str, size: int) -> None:
        self._pattern = pattern
        self._allowed = _SECONDS * max(1.0, size / _BYTES)
        self._started = time.perf_counter()

    def check(self, done: float) -> None:
        """Raises :class:`~imgframe.errors.FilterError` if, with the share ``done`` finished, the rest will be too late."""
        used = time.perf_counter() - self._started
        if used > self._allowed or (done > 0 and used / done > 4 * self._allowed):
            raise too_costly(self._pattern, f"would take longer than {self._allowed:.1f} s over these names")


def too_costly(pattern: str, why: str) -> FilterError:
    """The error for a valid pattern that is not worth its cost."""
    shown = pattern if len(pattern) <= 80 else f"{pattern[:77]}..."
    return FilterError(
        f"pattern {shown!r} {why}; a shorter pattern or fewer counted repetitions are expected"
    )


def search(texts: pa.Array, regex: str, size: int, pattern: str) -> np.ndarray:
    """Whether RE2 finds ``regex``, of about ``size`` instructions, anywhere in each of ``texts``; false for null.

    ``pattern`` is what the user wrote. Raises :class:`~imgframe.errors.FilterError` if it is too large or too slow; small
    patterns never are.
    """
    if size > _LARGEST:
        raise too_costly(pattern, f"is too large: about {size} instructions, at most {_LARGEST} are expected")
    try:
        if size <= _SMALL:
            return _found(texts, regex)
        return _search_in_steps(texts, regex, pattern)
    except pa.ArrowInvalid as error:
        raise too_costly(pattern, f"is refused by RE2 ({error})") from error


def _found(texts: pa.Array, regex: str) -> np.ndarray:
    found = pc.match_substring_regex(texts, regex)
    return np.asarray(pc.fill_null(found, fill_value=False)) if found.null_count else np.asarray(found)


def _search_in_steps(texts: pa.Array, regex: str, pattern: str) -> np.ndarray:
    lengths = np.asarray(pc.fill_null(pc.binary_length(texts), 0))
    ends = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    clock = Clock(pattern, total)
    found = np.zeros(len(texts), bool)
    at, step = 0, _FIRST
    while at < len(texts):
        before = int(ends[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, before + step, "right")))
        found[at:stop] = _found(texts.slice(at, stop - at), regex)
        at, step = stop, step * 3
        clock.check(int(ends[at - 1]) / total if total else 1.0)
    return found
