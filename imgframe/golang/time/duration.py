"""Durations: ``time.ParseDuration``, digit by digit in 64 bits."""

from __future__ import annotations

import re
from collections.abc import Iterable

from imgframe.errors import InputError

SECOND = 1_000_000_000
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5
    "μs": 1_000,  # U+03BC
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3_600 * SECOND,
}
_LIMIT = 2**63
_TERM = re.compile(r"(?P<whole>[0-9]*)(?:(?P<dot>\.)(?P<fraction>[0-9]*))?(?P<unit>[^.0-9]*)", re.DOTALL)


def quote(codes: Iterable[int]) -> str:
    r"""Characters or bytes as Go's time package quotes them in an error: below 0x20 and from 0x80 on as ``\\xNN``."""
    return '"' + "".join(map(_shown, codes)) + '"'


def _shown(code: int) -> str:
    if code < 0x20 or code >= 0x80:
        return f"\\x{code:02x}"
    return f"\\{chr(code)}" if chr(code) in '"\\' else chr(code)


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"))


def _bad_duration(problem: str, text: str) -> InputError:
    go = f"time: {problem} {_quoted(text)}"
    return InputError(f"{go}; expected a Go duration such as '720h' or '1h30m' (units ns us ms s m h)", go=go)


def parse_duration(text: str) -> int:
    """The nanoseconds of a Go duration such as ``"1h30m"`` (``time.ParseDuration``).

    An optional sign, then ``0`` alone, or numbers with the units ns, us, µs, ms, s, m, h in any order, repeated or not.
    There are no days or weeks.

    Raises:
        InputError: Go refuses the text; ``.go`` is Go's message.

    Example:
        >>> from imgframe import gotime
        >>> gotime.parse_duration("1h30m"), gotime.parse_duration("-1.5s")
        (5400000000000, -1500000000)
    """
    rest = text[1:] if text[:1] in {"+", "-"} else text
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
    if text.startswith("-"):
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
        raise _bad_duration(f"unknown unit {_quoted(unit)} in duration", text)
    fraction, scale = _fraction(digits)
    value *= _UNITS[unit]
    value += int(float(fraction) * (float(_UNITS[unit]) / scale))  # float64, then truncated, as in Go
    if value > _LIMIT:
        raise _bad_duration("invalid duration", text)
    return value


def _fraction(digits: str) -> tuple[int, float]:
    """The digits after the dot as an integer below 2**63 and its scale; excess digits are ignored."""
    value, scale = 0, 1.0
    for digit in digits:
        if value > (_LIMIT - 1) // 10:
            break
        grown = value * 10 + int(digit)
        if grown > _LIMIT:
            break
        value, scale = grown, scale * 10
    return value, scale


def format_duration(nanoseconds: int) -> str:
    """A duration as Go prints it (Duration.String): hours, minutes and seconds, or one smaller unit below a second.

    Example:
        >>> format_duration(90 * SECOND), format_duration(1_500_000), format_duration(0)
        ('1m30s', '1.5ms', '0s')
    """
    sign, rest = "-" * (nanoseconds < 0), abs(nanoseconds)
    if rest < SECOND:
        for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if rest >= size:
                return f"{sign}{_decimal(rest, size)}{unit}"
        return "0s"
    minutes, rest = divmod(rest, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(rest, SECOND)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    return f"{whole}.{str(part).zfill(len(str(unit)) - 1)}".rstrip("0").rstrip(".") if part else str(whole)
