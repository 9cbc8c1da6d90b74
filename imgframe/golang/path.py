"""Paths with slashes as Go's package path has them: their shortest form, and the patterns of ``path.Match``."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import NamedTuple


def clean(text: str) -> str:
    """The shortest path that names the same, by the text alone (``path.Clean``).

    Example:
        >>> from imgframe.golang import path
        >>> path.clean("//a/./b/../c/"), path.clean("")
        ('/a/c', '.')
    """
    cleaned = posixpath.normpath(text)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def join(*parts: str) -> str:
    """The parts that are not empty as one path in its shortest form (``path.Join``)."""
    named = [part for part in parts if part]
    return clean("/".join(named)) if named else ""


BAD_PATTERN = "syntax error in pattern"

_SLASH = ord("/")
_INVALID = 0xFFFD  # what Go reads at a byte that begins no character


class GlobSyntaxError(Exception):
    """A pattern that Go refuses; the message is Go's."""

    def __init__(self) -> None:
        super().__init__(BAD_PATTERN)


class _Class(NamedTuple):
    """``[…]``: one code point in (or, negated, outside) the ranges; a reversed range is empty."""

    negated: bool
    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, code: object) -> bool:
        return self.negated != any(low <= code <= high for low, high in self.ranges)  # type: ignore[operator]


_Item = _Class | str  # a str is literal
_ANY = _Class(negated=True, ranges=((_SLASH, _SLASH),))
"""``?``: one code point other than ``/``."""


def _regex(item: _Item) -> str:
    if isinstance(item, str):
        return "".join(
            char if char.isalnum() and char.isascii() else f"\\x{{{ord(char):x}}}" for char in item
        )
    if item == _ANY:
        return "[^/]"
    ranges = [f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in item.ranges if low <= high]
    if not ranges:
        return r"[\x00-\x{10FFFF}]" if item.negated else r"[^\x00-\x{10FFFF}]"
    return f"[{'^' if item.negated else ''}{''.join(ranges)}]"


@dataclass(frozen=True, slots=True)
class Glob:
    """A parsed pattern: the chunks between its stars.

    Example:
        >>> from imgframe.golang.path import parse_glob
        >>> glob = parse_glob("quay.io/*/a?")
        >>> glob.match("quay.io/team/ab"), glob.match("quay.io/x/y/ab"), glob.exact
        (True, False, True)
    """

    chunks: tuple[tuple[_Item, ...], ...]

    @property
    def exact(self) -> bool:
        """Whether :attr:`regex` decides as Go does for ASCII names.

        Go takes the first match of a chunk and does not backtrack, which makes a difference only if a class may match ``/``
        and there are two stars.
        """
        stars = len(self.chunks) - 1
        return stars < 2 or not any(
            isinstance(item, _Class) and _SLASH in item for chunk in self.chunks for item in chunk
        )

    @property
    def regex(self) -> str:
        """The pattern for RE2; matches at least what Go matches in ASCII names."""
        return "^" + "[^/]*".join("".join(map(_regex, chunk)) for chunk in self.chunks) + "$"

    def match(self, name: str) -> bool:
        """Whether the pattern matches ``name`` (``path.Match``)."""
        data = name.encode("utf-8", "surrogatepass")
        at = 0
        last = len(self.chunks) - 1
        for number, chunk in enumerate(self.chunks):
            if number and number == last and not chunk:
                return _SLASH not in data[at:]
            place = at
            while True:
                end = _fits(chunk, data, place)
                if end >= 0 and (number < last or end == len(data)):
                    at = end
                    break
                if not number or place >= len(data) or data[place] == _SLASH:
                    return False
                place += 1
        return at == len(data)


def _code_point(data: bytes, at: int) -> tuple[int, int]:
    """The code point at ``at`` of valid UTF-8 and its length; a byte inside a character counts as U+FFFD."""
    lead = data[at]
    if lead < 0x80:
        return lead, 1
    if lead < 0xC0:
        return _INVALID, 1
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    return ord(data[at : at + length].decode("utf-8", "surrogatepass")), length


def _fits(chunk: tuple[_Item, ...], data: bytes, at: int) -> int:
    """Where ``chunk`` ends if it fits at the byte ``at``; -1 if it does not."""
    for item in chunk:
        if isinstance(item, str):
            word = item.encode("utf-8", "surrogatepass")
            if not data.startswith(word, at):
                return -1
            at += len(word)
            continue
        if at >= len(data):
            return -1
        code, length = _code_point(data, at)
        if code not in item:
            return -1
        at += length
    return at


_BOUND = r"(?:\\.|[^\\\-\]])"
_RANGE = re.compile(rf"({_BOUND})(?:-({_BOUND}))?", re.DOTALL)
_ITEM = re.compile(
    rf"(?P<stars>\*+)|\?|\[(?P<negated>\^?+)(?P<ranges>(?:{_BOUND}(?:-{_BOUND})?)++)\]"
    r"|(?P<literal>(?:\\.|[^*?\[\\])+)",
    re.DOTALL,
)


def parse_glob(pattern: str) -> Glob:
    """The parsed pattern; raises :class:`GlobSyntaxError` where Go's ``path.Match`` refuses it.

    Example:
        >>> from imgframe.golang.path import parse_glob
        >>> parse_glob("a[-b]")
        Traceback (most recent call last):
        imgframe.golang.path.GlobSyntaxError: syntax error in pattern
    """
    chunks: list[list[_Item]] = [[]]
    at = 0
    while at < len(pattern):
        found = _ITEM.match(pattern, at)
        if not found:
            raise GlobSyntaxError
        at = found.end()
        if found["stars"]:
            chunks.append([])
        elif found["literal"]:
            chunks[-1].append(re.sub(r"(?s)\\(.)", r"\1", found["literal"]))
        elif found["ranges"]:
            bounds = _RANGE.findall(found["ranges"])
            ranges = tuple((ord(low[-1]), ord((high or low)[-1])) for low, high in bounds)
            chunks[-1].append(_Class(bool(found["negated"]), ranges))
        else:
            chunks[-1].append(_ANY)
    return Glob(tuple(map(tuple, chunks)))
