"""The times of configs: RFC 3339 as Go's time.Time reads it from JSON, to the nanosecond, of any year."""

from __future__ import annotations

import re
from datetime import date

from imgframe.errors import DocumentError

_LAYOUT = "2006-01-02T15:04:05Z07:00"
_PLAIN = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH = date(1970, 1, 1).toordinal()
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def nanoseconds(text: str) -> int:
    """The moment as nanoseconds since 1970 UTC.

    Raises:
        DocumentError: Go cannot read the time, with its words.

    Example:
        >>> nanoseconds("1970-01-01T01:00:00.5+01:00")
        500000000
    """
    return parts(text)[0]


def parts(text: str) -> tuple[int, int]:
    """Nanoseconds since 1970 UTC, and the offset of the zone in seconds."""
    found = _PLAIN.fullmatch(text)
    if not found:
        raise _refused(text)
    year, month, day, hour, minute, second = (int(found[group]) for group in range(1, 7))
    zone_hour, zone_minute = (int(found[9]), int(found[10])) if found[8] else (0, 0)
    if (
        not 1 <= month <= 12
        or hour > 23
        or minute > 59
        or second > 59
        or zone_hour > 24
        or zone_minute > 60
        or not 1 <= day <= _days(year, month)
    ):
        raise _refused(text)
    offset = (zone_hour * 60 + zone_minute) * 60 * (-1 if found[8] == "-" else 1)
    seconds = (_ordinal(year, month, day) * 24 + hour) * 3600 + minute * 60 + second - offset
    return seconds * 1_000_000_000 + int((found[7] or "0")[:9].ljust(9, "0")), offset


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days(year: int, month: int) -> int:
    return 29 if month == 2 and _leap(year) else _DAYS[month - 1]


def _ordinal(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01; the year 0 is the leap year 400 years before 400."""
    return (
        date(year + 400, month, day).toordinal() - 146_097 - _EPOCH
        if year < 1
        else date(year, month, day).toordinal() - _EPOCH
    )


def written(text: str) -> str:
    """The time as Go's time.Time writes it to JSON.

    Raises:
        DocumentError: Go refuses to write it.
    """
    moment, offset = parts(text)
    seconds, nanos = divmod(moment, 1_000_000_000)
    days, rest = divmod(seconds + offset, 86_400)
    year, shown = _calendar(days)
    if not 0 <= year <= 9999:
        raise DocumentError(
            "json: error calling MarshalJSON for type *time.Time: year outside of range [0,9999]"
        )
    if abs(offset) >= 24 * 3600:
        raise DocumentError(
            "json: error calling MarshalJSON for type *time.Time: timezone hour outside of range [0,23]"
        )
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    zone = "Z"
    if offset:
        zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 3600:02d}:{abs(offset) // 60 % 60:02d}"
    return f"{shown}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}{fraction}{zone}"


def _calendar(days: int) -> tuple[int, str]:
    """Year and ``YYYY-MM-DD`` of a day; a day before the year 0 or after 9999 has only its year."""
    ordinal = days + _EPOCH
    shift = 146_097 if ordinal < 1 else 0
    if ordinal + shift < 1:
        return -1, ""
    if ordinal > date.max.toordinal():
        return 10_000, ""
    found = date.fromordinal(ordinal + shift)
    year = found.year - (400 if shift else 0)
    return year, f"{year:04d}-{found.month:02d}-{found.day:02d}"


# what Go reads, piece by piece: the number or text, how it is shown in errors, the range and its name
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


def _refused(text: str) -> DocumentError:
    """Why Go refuses the time, in its words."""
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
        for place, limit, name in ((1, 24, "hour"), (4, 60, "minute")):
            digits = zone[place : place + 2]
            shaped = shaped and digits.isascii() and digits.isdigit()
            if shaped and int(digits) > limit:
                return DocumentError(f"{start}: time zone offset {name} out of range")
        if not shaped or zone[0] not in "+-":
            return _cannot(start, text[at:], "Z07:00")
        at += 6
    if at < len(text):
        return DocumentError(f"{start}: extra text: {_quoted(text[at:])}")
    return DocumentError(f"{start}: day out of range")


def _cannot(start: str, rest: str, layout: str) -> DocumentError:
    return DocumentError(f"{start} as {_quoted(_LAYOUT)}: cannot parse {_quoted(rest)} as {_quoted(layout)}")


def _quoted(text: str) -> str:
    """In double quotes; what is not plain ASCII in hexadecimal (package time's own quoting of bytes)."""
    shown = [
        f"\\x{ord(char):02x}" if char < " " or char > "\x7f" else "\\" + char if char in '"\\' else char
        for char in text
    ]
    return f'"{"".join(shown)}"'
