"""RE2 over many texts in bounded time and memory."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe.errors import FilterError

# instructions; a pattern of this size takes less than a second over 50,000 names in the worst case
_SMALL = 100
_LARGEST = 60_000  # instructions
_SECONDS = 1.2  # for a larger one, over up to _BYTES of text
_BYTES = 3_000_000
_FIRST = 50_000  # bytes of the first step
# how far the forecasts of the first steps may exceed the limit: RE2 is slow at first
_DOUBTS = (6.0, 2.0)


class Clock:
    """The CPU time that one pattern may take over ``size`` bytes of names."""

    def __init__(self, pattern: str, size: int) -> None:
        self._pattern = pattern
        self._size = size
        self._allowed = _SECONDS * max(1.0, size / _BYTES)
        self._done = 0
        self._used = 0.0
        self._steps = 0
        self._at = time.thread_time()

    def start(self) -> None:
        """Excludes the work until now (compilation) from the forecast."""
        now = time.thread_time()
        self._used += now - self._at
        self._at = now

    def check(self, size: int) -> None:
        """Called after each step over ``size`` bytes.

        Raises :class:`~imgframe.errors.FilterError` if at the speed of this step the limit would be exceeded.
        """
        now = time.thread_time()
        spent = now - self._at
        self._at = now
        self._used += spent
        self._done += size
        rest = (self._size - self._done) * spent / max(size, 1)
        doubt = _DOUBTS[self._steps] if self._steps < len(_DOUBTS) else 1.0
        self._steps += 1
        if self._used > self._allowed or self._used + rest > doubt * self._allowed:
            raise too_costly(self._pattern, f"would take longer than {self._allowed:.1f} s over these names")


def too_costly(pattern: str, why: str) -> FilterError:
    """The error for a valid pattern that is too expensive."""
    shown = pattern if len(pattern) <= 80 else f"{pattern[:77]}..."
    return FilterError(f"pattern {shown!r} {why}; use a shorter pattern or fewer counted repetitions")


def search(texts: pa.Array, regex: str, size: int, pattern: str) -> np.ndarray:
    """Whether RE2 finds ``regex``, of about ``size`` instructions, anywhere in each of ``texts``; false for null.

    ``pattern`` is the user's, for errors. Raises :class:`~imgframe.errors.FilterError` if it is too large or too slow; small
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
    return np.asarray(pc.fill_null(pc.match_substring_regex(texts, regex), fill_value=False))


def _search_in_steps(texts: pa.Array, regex: str, pattern: str) -> np.ndarray:
    lengths = np.asarray(pc.fill_null(pc.binary_length(texts), 0))
    ends = np.append(0, np.cumsum(lengths, dtype=np.int64))
    clock = Clock(pattern, int(ends[-1]))
    found = np.zeros(len(texts), bool)
    at, step = 0, _FIRST
    while at < len(texts):
        _found(texts.slice(at, 0), regex)
        clock.start()
        stop = max(at + 1, int(np.searchsorted(ends, ends[at] + step, "right")) - 1)
        found[at:stop] = _found(texts.slice(at, stop - at), regex)
        clock.check(int(ends[stop] - ends[at]))
        at, step = stop, step * 4
    return found
