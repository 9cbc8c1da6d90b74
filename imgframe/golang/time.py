"""Times as Go reads them: durations, RFC 3339, dates, and what nerdctl's ``until`` accepts.

Everything is an integer of nanoseconds since 1970-01-01T00:00:00Z, of any size: year 0 and year 9999 lie outside the range
of 64-bit nanoseconds, so Python integers carry the result. No float and no calendar of Python's own is involved, except
where Go itself multiplies the fraction of a duration as float64.
"""

from __future__ import annotations

import re
from typing import Any

from imgframe.errors import InputError

SECOND = 1_000_000_000
EARLIEST = -(2**63) + 1
"""The earliest time that a column of 64-bit nanoseconds holds; -2**63 itself means "not a time" there."""
LATEST = 2**63 - 1
"""The latest time that a column of 64-bit nanoseconds holds."""

_MINUTE = 60 * SECOND
_HOUR = 60 * _MINUTE
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5
    "μs": 1_000,  # U+03BC
    "ms": 1_000_000,
    "s": SECOND,
    "m": _MINUTE,
    "h": _HOUR,
}
_LIMIT = 2**63
_TERM = re.compile(r"(?P<whole>[0-9]*)(?:(?P<dot>\.)(?P<fraction>[0-9]*))?(?P<unit>[^.0-9]*)", re.DOTALL)
_RFC3339 = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"T(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?"
    r"(?:Z|(?P<sign>[+-])(?P<zone_hour>[0-9]{2}):(?P<zone_minute>[0-9]{2}))"
)
_DATE = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})")
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _refused(go: str, expected: str) -> InputError:
    error = InputError(f"{go}; expected {expected}")
    error.go = go
    return error


def _quote(text: str) -> str:
    r"""``text`` as Go's time package quotes it in an error: bytes below 0x20 and from 0x80 as ``\\xNN``."""
    out = []
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif " " <= char < "\x80":
            out.append(char)
        else:
            out.extend(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
    return '"' + "".join(out) + '"'


def _bad_duration(problem: str, text: str) -> InputError:
    return _refused(
        f"time: {problem} {_quote(text)}", "a Go duration such as '720h' or '1h30m' (units ns us ms s m h)"
    )


def parse_duration(text: str) -> int:
    """The nanoseconds of a Go duration such as ``"1h30m"`` (``time.ParseDuration``).

    An optional sign, then ``0`` alone, or numbers with the units ns, us, µs, ms, s, m, h in any order and repeated at will.
    There are no days or weeks.

    Raises:
        InputError: Go refuses the text; ``.go`` holds Go's words.

    Example:
        >>> from imgframe import gotime
        >>> gotime.parse_duration("1h30m"), gotime.parse_duration("-1.5s")
        (5400000000000, -1500000000)
    """
    rest = text[1:] if text[:1] in {"+", "-"} else text
    negative = text[:1] == "-"
    if rest == "0":
        return 0
    total = 0
    position = 0
    while not position or position < len(rest):
        term = _TERM.match(rest, position)
        assert term is not None  # every part of the pattern may be empty
        position = term.end()
        total = (total + _term(term, text)) % 2**64  # Go adds in 64 bits
        if total > _LIMIT:
            raise _bad_duration("invalid duration", text)
    if negative:
        return -total
    if total == _LIMIT:
        raise _bad_duration("invalid duration", text)
    return total


def _term(term: re.Match[str], text: str) -> int:
    """The nanoseconds of one number with its unit."""
    whole, digits, unit = term["whole"], term["fraction"] or "", term["unit"]
    if not whole and not digits:
        raise _bad_duration("invalid duration", text)
    significant = whole.lstrip("0") or "0"
    if len(significant) > 19 or (value := int(significant)) > _LIMIT:
        raise _bad_duration("invalid duration", text)
    if not unit:
        raise _bad_duration("missing unit in duration", text)
    if unit not in _UNITS:
        raise _bad_duration(f"unknown unit {_quote(unit)} in duration", text)
    scale_of_unit = _UNITS[unit]
    if value > _LIMIT // scale_of_unit:
        raise _bad_duration("invalid duration", text)
    value *= scale_of_unit
    fraction, scale = _fraction(digits)
    if fraction:
        value += int(float(fraction) * (float(scale_of_unit) / scale))  # float64, then cut, as Go does
        if value > _LIMIT:
            raise _bad_duration("invalid duration", text)
    return value


def _fraction(digits: str) -> tuple[int, float]:
    """The digits behind the dot as an integer below 2**63 and its scale; what does not fit is ignored."""
    value, scale = 0, 1.0
    for digit in digits:
        if value > (_LIMIT - 1) // 10:
            break
        grown = value * 10 + int(digit)
        if grown > _LIMIT:
            break
        value, scale = grown, scale * 10
    return value, scale


def _days_from_epoch(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the proleptic Gregorian calendar, from year 0 on."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def _days(found: re.Match[str]) -> int | None:
    year, month, day = int(found["year"]), int(found["month"]), int(found["day"])
    if not 1 <= month <= 12 or day < 1:
        return None
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return None if day > _DAYS[month - 1] + leap else _days_from_epoch(year, month, day)


def read_rfc3339(text: str) -> tuple[int, int] | None:
    """Nanoseconds since 1970 of an RFC 3339 time as Go reads it, and the offset of its zone in seconds; None: Go refuses it.

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
    cut, zones up to ``+24:60``), and less than others accept (no lower case, no blank, no second 60).

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
    days = _days(found) if found is not None else None
    if days is None:
        raise InputError(f"{text!r} is not a date; expected yyyy-mm-dd such as '2024-02-29'")
    return days * 86_400 * SECOND


def parse_until(text: str, now_ns: int) -> int:
    """The cut-off of nerdctl's ``until``, in nanoseconds since 1970: what was created before it is kept.

    Tried in this order: RFC 3339, a date (midnight UTC), a Go duration back from ``now_ns`` (a negative one lies ahead).

    Raises:
        InputError: ``no until timestamp provided`` for the empty text, else ``unable to parse until timestamp``
            (nerdctl's FilterUntil); ``.go`` holds these words.

    Example:
        >>> from imgframe import gotime
        >>> gotime.parse_until("24h", now_ns=86400_000_000_000)
        0
    """
    if not text:
        raise _refused("no until timestamp provided", "a time, a date or a duration")
    if (found := read_rfc3339(text)) is not None:
        return found[0]
    if _DATE.fullmatch(text):
        try:
            return parse_date(text)
        except InputError:
            pass  # a duration never looks like a date, so the error below follows
    try:
        duration = parse_duration(text)
    except InputError:
        raise _refused(
            "unable to parse until timestamp",
            f"RFC 3339, yyyy-mm-dd or a Go duration such as '720h'; got {text!r}",
        ) from None
    return back(now_ns, duration)


def back(now_ns: int, duration: int) -> int:
    """``now_ns`` less the duration; a negative one lies ahead, but for -2**63, which is its own negation in Go.

    Example:
        >>> from imgframe import gotime
        >>> gotime.back(10, 3), gotime.back(10, -3), gotime.back(0, -(2**63)) < 0
        (7, 13, True)
    """
    return now_ns + (duration if duration == -_LIMIT else -duration)


def saturate(nanoseconds: int) -> int:
    """``nanoseconds`` as a column of 64-bit nanoseconds can hold it: the nearest end of the range where it cannot.

    containerd stores years 1 to 9999, 64-bit nanoseconds reach from 1677 to 2262. An image of year 1 stays older than
    every cut-off this way, where a missing value would make it unknown.

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
        InputError: another type, a bool, or no time at all (NaT).

    Example:
        >>> import datetime
        >>> from imgframe import gotime
        >>> gotime.to_nanoseconds(datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC))
        1000000000
    """
    import datetime as dt

    if isinstance(moment, bool) or moment != moment:  # noqa: PLR0124 -- NaT and NaN differ from themselves
        raise InputError(f"{moment!r} is not a moment; expected int nanoseconds, a Timestamp or a datetime")
    if hasattr(moment, "as_unit"):  # pandas.Timestamp: exact in its own unit
        return int(moment.as_unit("ns").value)
    if isinstance(moment, dt.datetime):
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
        since = aware - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
    if type(moment).__name__ == "datetime64":
        return int(moment.astype("datetime64[ns]").astype("int64"))
    if hasattr(moment, "__index__"):
        return int(moment.__index__())
    raise InputError(f"{moment!r} is not a moment; expected int nanoseconds, a Timestamp or a datetime")


def to_duration(length: Any) -> int:
    """Nanoseconds of a length of time: a Go duration such as ``"720h"``, or a timedelta of Python, pandas or numpy.

    Raises:
        InputError: Go refuses the text, the length is negative, or no length at all (NaT, another type).

    Example:
        >>> import datetime
        >>> from imgframe import gotime
        >>> gotime.to_duration("1h30m"), gotime.to_duration(datetime.timedelta(days=1))
        (5400000000000, 86400000000000)
    """
    import datetime as dt

    expected = "expected a Go duration such as '720h', or a timedelta, from 0 on"
    if isinstance(length, bool) or length != length:  # noqa: PLR0124 -- NaT differs from itself
        raise InputError(f"{length!r} is not a length of time; {expected}")
    if isinstance(length, str):
        found = parse_duration(length)
    elif hasattr(length, "as_unit"):  # pandas.Timedelta: exact in its own unit
        found = int(length.as_unit("ns").value)
    elif isinstance(length, dt.timedelta):
        found = ((length.days * 86_400 + length.seconds) * 1_000_000 + length.microseconds) * 1_000
    elif type(length).__name__ == "timedelta64":
        found = int(length.astype("timedelta64[ns]").astype("int64"))
    else:
        raise InputError(f"{length!r} is not a length of time; {expected}")
    if found < 0:
        raise InputError(f"{length!r} is negative; {expected}")
    return found


def format_time(nanoseconds: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC, without trailing zeros, as Go's RFC3339Nano prints them.

    Example:
        >>> from imgframe import gotime
        >>> gotime.format_time(1709206496500000000)
        '2024-02-29T11:34:56.5Z'
    """
    seconds, fraction = divmod(nanoseconds, SECOND)
    days, of_day = divmod(seconds, 86_400)
    shifted = days + 719_468
    era, day_of_era = divmod(shifted, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + (3 if month_from_march < 10 else -9)
    year = year_of_era + era * 400 + (month <= 2)
    hour, minute, second = of_day // 3_600, of_day // 60 % 60, of_day % 60
    decimals = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}{decimals}Z"
