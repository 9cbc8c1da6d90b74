"""IP addresses as Go's net/netip reads them, with its words for what it refuses."""

from __future__ import annotations

import re

from imgframe.golang.strconv import quote

_HEX = re.compile(r"[0-9A-Fa-f]*")
_FIELDS = 8


class NoAddress(ValueError):  # noqa: N818 -- never leaves this room
    """Go's words: ``ParseAddr("TEXT"): …``."""


def _refuse(text: str, problem: str, at: str = "") -> NoAddress:
    return NoAddress(f"ParseAddr({quote(text)}): {problem}" + (f" (at {quote(at)})" if at else ""))


def version(text: str) -> int:
    """4 or 6 (also for an IPv4 address inside an IPv6 one); raises :class:`NoAddress` where netip.ParseAddr refuses it.

    Example:
        >>> from imgframe.golang import netip
        >>> netip.version("127.0.0.1"), netip.version("::ffff:127.0.0.1"), netip.version("fe80::1%eth0")
        (4, 6, 6)
    """
    mark = re.search(r"[.:%]", text)
    if mark is None:
        raise _refuse(text, "unable to parse IP")
    if mark[0] == "%":
        raise _refuse(text, "missing IPv6 address")
    if mark[0] == ".":
        _check_v4(text, text)
        return 4
    _check_v6(text)
    return 6


def _check_v4(text: str, part: str) -> None:
    """Four numbers below 256 with dots between; ``part`` is the end of ``text`` or all of it."""
    value = digits = dots = 0
    for at, char in enumerate(part):
        if "0" <= char <= "9":
            if digits == 1 and value == 0:
                raise _refuse(text, "IPv4 field has octet with leading zero")
            value, digits = value * 10 + int(char), digits + 1
            if value > 255:
                raise _refuse(text, "IPv4 field has value >255")
        elif char == ".":
            if at in {0, len(part) - 1} or part[at - 1] == ".":
                raise _refuse(text, "IPv4 field must have at least one digit", part[at:])
            if dots == 3:
                raise _refuse(text, "IPv4 address too long")
            value, digits, dots = 0, 0, dots + 1
        else:
            raise _refuse(text, "unexpected character", part[at:])
    if dots < 3:
        raise _refuse(text, "IPv4 address too short")


def _check_v6(text: str) -> None:
    rest, percent, zone = text.partition("%")
    if percent and not zone:
        raise _refuse(text, "zone must be a non-empty string")
    ellipsis = rest.startswith("::")
    rest = rest[2:] if ellipsis else rest
    if ellipsis and not rest:
        return
    fields = 0
    while fields < _FIELDS:
        found = _field(text, rest)
        if rest[found : found + 1] == ".":
            _check_embedded(text, rest, fields, ellipsis=ellipsis)
            rest, fields = "", fields + 2
            break
        fields += 1
        rest = rest[found:]
        if not rest:
            break
        if rest[0] != ":":
            raise _refuse(text, "unexpected character, want colon", rest)
        if rest == ":":
            raise _refuse(text, "colon must be followed by more characters", rest)
        rest = rest[1:]
        if rest[0] == ":":
            if ellipsis:
                raise _refuse(text, "multiple :: in address", rest)
            ellipsis, rest = True, rest[1:]
            if not rest:
                break
    if rest:
        raise _refuse(text, "trailing garbage after address", rest)
    if fields < _FIELDS and not ellipsis:
        raise _refuse(text, "address string too short")
    if fields == _FIELDS and ellipsis:
        raise _refuse(text, "the :: must expand to at least one field of zeros")


def _field(text: str, rest: str) -> int:
    """The length of the hexadecimal number at the beginning."""
    length = _HEX.match(rest).end()  # type: ignore[union-attr]
    if length > 4:
        raise _refuse(text, "each group must have 4 or less digits", rest)
    if not length:
        raise _refuse(text, "each colon-separated field must have at least one digit", rest)
    return length


def _check_embedded(text: str, rest: str, fields: int, *, ellipsis: bool) -> None:
    if not ellipsis and fields != _FIELDS - 2:
        raise _refuse(text, "embedded IPv4 address must replace the final 2 fields of the address", rest)
    if fields + 2 > _FIELDS:
        raise _refuse(text, "too many hex fields to fit an embedded IPv4 at the end of the address", rest)
    _check_v4(text, rest)
