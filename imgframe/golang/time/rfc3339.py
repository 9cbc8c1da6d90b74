"""Moments as text: RFC 3339 and dates as ``time.Parse`` reads them, and times in JSON (``Time.UnmarshalJSON``)."""

from __future__ import annotations

import datetime as dt
import re

from imgframe.errors import DocumentError, InputError
from imgframe.golang.time.duration import SECOND, quote

_RFC3339 = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"T(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?"
    r"(?:Z|(?P<sign>[+-])(?P<zone_hour>[0-9]{2}):(?P<zone_minute>[0-9]{2}))"
)
_DATE = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})")
_CYCLE = 146_097  # days after which the calendar repeats, 400 years
_EPOCH = dt.date(1970, 1, 1).toordinal()
_LAYOUT = "2006-01-02T15:04:05Z07:00"


def _days(found: re.Match[str]) -> int | None:
    """Days from 1970-01-01 in the proleptic Gregorian calendar, from year 0 on; None if the month has no such day."""
    cycles, year = divmod(int(found["year"]) - 1, 400)
    try:
        date = dt.date(year + 1, int(found["month"]), int(found["day"]))
    except ValueError:
        return None
    return cycles * _CYCLE + date.toordinal() - _EPOCH


def read_rfc3339(text: str) -> tuple[int, int] | None:
    """Nanoseconds since 1970 of an RFC 3339 time as Go reads it, and the offset of its zone in seconds; None if Go refuses it.

    Example:
        >>> from imgframe import gotime
        >>> gotime.read_rfc3339("1970-01-01T01:00:00.5+01:00")
        (500000000, 3600)
    """
    found = _RFC3339.fullmatch(text)
    if found is None or (days := _days(found)) is None:
        return None
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    zone_hour, zone_minute = int(found["zone_hour"] or 0), int(found["zone_minute"] or 0)
    if hour > 23 or minute > 59 or second > 59 or zone_hour > 24 or zone_minute > 60:
        return None
    offset = (zone_hour * 60 + zone_minute) * 60 * (-1 if found["sign"] == "-" else 1)
    nanoseconds = int(((found["fraction"] or "") + "000000000")[:9])
    return (days * 86_400 + hour * 3_600 + minute * 60 + second - offset) * SECOND + nanoseconds, offset


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time as Go reads it (``time.Parse(time.RFC3339, …)``, also of JSON).

    More is accepted than RFC 3339 says (a one-digit hour, a comma before the fraction, fractions of any length, which are
    truncated, zones up to ``+24:60``), and less than others accept (no lower case, no blank, no second 60).

    Raises:
        InputError: Go refuses the text.

    Example:
        >>> from imgframe import gotime
        >>> gotime.parse_rfc3339("2024-02-29T12:34:56,5+01:00")
        1709206496500000000
    """
    found = read_rfc3339(text)
    if found is None:
        raise InputError(f"{text!r} is not a time; expected RFC 3339 such as '2024-02-29T12:34:56Z'")
    return found[0]


def parse_date(text: str) -> int:
    """Nanoseconds since 1970 of midnight UTC of a date ``yyyy-mm-dd`` (``time.Parse(time.DateOnly, …)``).

    Raises:
        InputError: not exactly such a date, or a day that the month does not have.

    Example:
        >>> from imgframe import gotime
        >>> gotime.parse_date("1970-01-02")
        86400000000000
    """
    found = _DATE.fullmatch(text)
    if found is None or (days := _days(found)) is None:
        raise InputError(f"{text!r} is not a date; expected yyyy-mm-dd such as '2024-02-29'")
    return days * 86_400 * SECOND


def format_time(nanoseconds: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC, without trailing zeros, as Go's RFC3339Nano prints them.

    Example:
        >>> from imgframe import gotime
        >>> gotime.format_time(1709206496500000000)
        '2024-02-29T11:34:56.5Z'
    """
    seconds, fraction = divmod(nanoseconds, SECOND)
    days, of_day = divmod(seconds, 86_400)
    cycles, day = divmod(days + _EPOCH - 1, _CYCLE)
    date = dt.date.fromordinal(day + 1)
    hour, minute, second = of_day // 3_600, of_day // 60 % 60, of_day % 60
    decimals = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{date.year + 400 * cycles:04d}-{date:%m-%d}T{hour:02d}:{minute:02d}:{second:02d}{decimals}Z"


def unmarshal(text: str) -> tuple[int, int]:
    """Nanoseconds since 1970 of a time in JSON, and the offset of its zone in seconds (``Time.UnmarshalJSON``).

    ``text`` is what stands between the quotes, one character per byte.

    Raises:
        DocumentError: Go refuses the time; the message is Go's.

    Example:
        >>> from imgframe.golang.time import rfc3339
        >>> rfc3339.unmarshal("1970-01-01T01:00:00.5+01:00")
        (500000000, 3600)
    """
    found = read_rfc3339(text)
    if found is None:
        raise _refusal(text)
    return found


# What Go reads, piece by piece: pattern, how the error names it, its range and what it is.
_PIECES = (
    (r"[0-9]{4}", "2006", None, ""),
    (r"-", "-", None, ""),
    (r"[0-9]{2}", "01", (1, 12), "month"),
    (r"-", "-", None, ""),
    (r"[0-9]{2}", "02", None, ""),
    (r"T", "T", None, ""),
    (r"[0-9]{1,2}", "15", (0, 23), "hour"),
    (r":", ":", None, ""),
    (r"[0-9]{2}", "04", (0, 59), "minute"),
    (r":", ":", None, ""),
    (r"[0-9]{2}", "05", (0, 59), "second"),
)
_FRACTION = re.compile(r"[.,][0-9]+")


def _refusal(text: str) -> DocumentError:
    """Why Go refuses the time."""
    start = f"parsing time {_quoted(text)}"
    at = 0
    for pattern, layout, limits, name in _PIECES:
        found = re.compile(pattern, re.ASCII).match(text, at)
        if not found:
            return _cannot(start, text[at:], layout)
        at = found.end()
        if limits and not limits[0] <= int(found[0]) <= limits[1]:
            return DocumentError(f"{start}: {name} out of range")
    fraction = _FRACTION.match(text, at)
    at = fraction.end() if fraction else at
    if text[at : at + 1] == "Z":
        at += 1
    else:
        zone = text[at : at + 6]
        shaped = len(zone) == 6 and zone[3] == ":"
        outside = ""
        for place, limit, name in ((1, 24, "hour"), (4, 60, "minute")):
            digits = zone[place : place + 2]
            shaped = shaped and digits.isascii() and digits.isdigit()
            if shaped and int(digits) > limit:
                outside = name  # Go speaks of the last one
        if outside:
            return DocumentError(f"{start}: time zone offset {outside} out of range")
        if not shaped or zone[0] not in "+-":
            return _cannot(start, text[at:], "Z07:00")
        at += 6
    if at < len(text):
        return DocumentError(f"{start}: extra text: {_quoted(text[at:])}")
    return DocumentError(f"{start}: day out of range")


def _cannot(start: str, rest: str, layout: str) -> DocumentError:
    return DocumentError(f"{start} as {_quoted(_LAYOUT)}: cannot parse {_quoted(rest)} as {_quoted(layout)}")


def _quoted(text: str) -> str:
    return quote(map(ord, text))
