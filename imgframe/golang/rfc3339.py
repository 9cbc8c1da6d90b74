"""The times of configs: RFC 3339 as Go's time.Time reads it from JSON (:mod:`imgframe.golang.time`), its refusals, and writing it."""

from __future__ import annotations

import re

from imgframe.errors import DocumentError
from imgframe.golang import time

_LAYOUT = "2006-01-02T15:04:05Z07:00"
_EARLIEST = time.parse_rfc3339("0000-01-01T00:00:00Z")
_LATEST = time.parse_rfc3339("9999-12-31T23:59:59.999999999Z")


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
    found = time.read_rfc3339(text)
    if found is None:
        raise _refused(text)
    return found


def written(text: str) -> str:
    """The time as Go's time.Time writes it to JSON.

    Raises:
        DocumentError: Go refuses to write it.
    """
    moment, offset = parts(text)
    shown = moment + offset * time.SECOND
    if not _EARLIEST <= shown <= _LATEST:
        raise DocumentError(
            "json: error calling MarshalJSON for type *time.Time: year outside of range [0,9999]"
        )
    if abs(offset) >= 24 * 3600:
        raise DocumentError(
            "json: error calling MarshalJSON for type *time.Time: timezone hour outside of range [0,23]"
        )
    zone = "Z"
    if offset:
        zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 3600:02d}:{abs(offset) // 60 % 60:02d}"
    return time.format_time(shown).removesuffix("Z") + zone


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
    """In double quotes; what is not plain ASCII in hexadecimal (package time's own quoting of bytes)."""
    shown = [
        f"\\x{ord(char):02x}" if char < " " or char > "\x7f" else "\\" + char if char in '"\\' else char
        for char in text
    ]
    return f'"{"".join(shown)}"'
