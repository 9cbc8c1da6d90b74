"""Moments and lengths of time as callers may give them, converted to integers of nanoseconds."""

from __future__ import annotations

import datetime as dt
from typing import Any

from imgframe.errors import InputError
from imgframe.golang.time.duration import parse_duration
from imgframe.golang.time.rfc3339 import parse_date, read_rfc3339

EARLIEST = -(2**63) + 1
"""The earliest time that a column of 64-bit nanoseconds holds; -2**63 itself means "not a time" there."""
LATEST = 2**63 - 1
"""The latest time that a column of 64-bit nanoseconds holds."""
_MICROSECOND = dt.timedelta(microseconds=1)


def parse_until(text: str, now_ns: int) -> int:
    """The cut-off of nerdctl's ``until``, in nanoseconds since 1970: images created before it match.

    Tried in this order: RFC 3339, a date (midnight UTC), a Go duration back from ``now_ns`` (a negative one lies ahead).

    Raises:
        InputError: ``no until timestamp provided`` for the empty text, else ``unable to parse until timestamp``
            (nerdctl's FilterUntil); ``.go`` is this message.

    Example:
        >>> from imgframe import gotime
        >>> gotime.parse_until("24h", now_ns=86400_000_000_000)
        0
    """
    if not text:
        go = "no until timestamp provided"
        raise InputError(f"{go}; expected a time, a date or a duration", go=go)
    if (found := read_rfc3339(text)) is not None:
        return found[0]
    try:
        return parse_date(text)
    except InputError:
        pass  # no date, or a day that the month does not have, which is no duration either
    try:
        duration = parse_duration(text)
    except InputError:
        go = "unable to parse until timestamp"
        expected = "RFC 3339, yyyy-mm-dd or a Go duration such as '720h'"
        raise InputError(f"{go}; expected {expected}; got {text!r}", go=go) from None
    return back(now_ns, duration)


def back(now_ns: int, duration: int) -> int:
    """``now_ns`` less the duration; a negative one lies ahead, but for -2**63, which is its own negation in Go.

    Example:
        >>> from imgframe import gotime
        >>> gotime.back(10, 3), gotime.back(10, -3), gotime.back(0, -(2**63)) < 0
        (7, 13, True)
    """
    return now_ns + (duration if duration == -(2**63) else -duration)


def saturate(nanoseconds: int) -> int:
    """``nanoseconds`` clamped to the range of a column of 64-bit nanoseconds.

    containerd stores years 1 to 9999, 64-bit nanoseconds reach from 1677 to 2262. Clamped, an image of year 1
    stays older than every cut-off; a missing value would make it unknown.

    Example:
        >>> from imgframe import gotime
        >>> gotime.saturate(-62135596800_000_000_000) == gotime.EARLIEST
        True
    """
    return min(max(nanoseconds, EARLIEST), LATEST)


def to_nanoseconds(moment: Any) -> int:
    """Nanoseconds since 1970 of an ``int`` (already that), a ``pandas.Timestamp``, ``numpy.datetime64`` or ``datetime``.

    A moment without a zone is UTC.

    Raises:
        InputError: another type, a bool, or NaT.

    Example:
        >>> import datetime
        >>> from imgframe import gotime
        >>> gotime.to_nanoseconds(datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC))
        1000000000
    """
    if isinstance(moment, bool) or moment != moment:  # noqa: PLR0124 -- NaT and NaN differ from themselves
        raise InputError(f"{moment!r} is not a moment; expected int nanoseconds, a Timestamp or a datetime")
    if hasattr(moment, "as_unit"):  # pandas.Timestamp: exact in its own unit
        return int(moment.as_unit("ns").value)
    if isinstance(moment, dt.datetime):
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
        return (aware - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // _MICROSECOND * 1_000
    if type(moment).__name__ == "datetime64":
        return int(moment.astype("datetime64[ns]").astype("int64"))
    if hasattr(moment, "__index__"):
        return int(moment.__index__())
    raise InputError(f"{moment!r} is not a moment; expected int nanoseconds, a Timestamp or a datetime")


def to_duration(length: Any) -> int:
    """Nanoseconds of a length of time: a Go duration such as ``"720h"``, or a timedelta of Python, pandas or numpy.

    Raises:
        InputError: Go refuses the text, or the length is negative, NaT or of another type.

    Example:
        >>> import datetime
        >>> from imgframe import gotime
        >>> gotime.to_duration("1h30m"), gotime.to_duration(datetime.timedelta(days=1))
        (5400000000000, 86400000000000)
    """
    expected = "expected a Go duration such as '720h', or a timedelta, from 0 on"
    if isinstance(length, bool) or length != length:  # noqa: PLR0124 -- NaT differs from itself
        raise InputError(f"{length!r} is not a length of time; {expected}")
    if isinstance(length, str):
        found = parse_duration(length)
    elif hasattr(length, "as_unit"):  # pandas.Timedelta: exact in its own unit
        found = int(length.as_unit("ns").value)
    elif isinstance(length, dt.timedelta):
        found = length // _MICROSECOND * 1_000
    elif type(length).__name__ == "timedelta64":
        found = int(length.astype("timedelta64[ns]").astype("int64"))
    else:
        raise InputError(f"{length!r} is not a length of time; {expected}")
    if found < 0:
        raise InputError(f"{length!r} is negative; {expected}")
    return found
