"""A cursor over a Go pattern: escapes, numbers and items of classes, with Go's errors."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from imgframe.golang.regexp.unicode_names import class_name

_MAX_RUNE = 0x10FFFF
_POSIX_NAMES = "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit"
_POSIX_CLASSES = frozenset(_POSIX_NAMES.split())
_ESCAPES = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")
_NUMBER = re.compile(r"0(?![0-9])|[1-9][0-9]*")


class GoSyntaxError(Exception):
    """A pattern that Go refuses; the message is Go's."""

    def __init__(self, reason: str, fragment: str) -> None:
        super().__init__(f"error parsing regexp: {reason}: `{fragment}`")


class UnicodeClass(NamedTuple):
    r"""``\p{name}``: the name as in :mod:`imgframe.golang.regexp.unicode_names`."""

    name: str
    negated: bool
    fold: bool


class Cursor:
    """A position in a pattern, and what is read from there."""

    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.fold = False

    def fail(self, reason: str, start: int, end: int | None = None) -> NoReturn:
        """Refuses the pattern for the reason, with the fragment from ``start`` to ``end`` (default: to here)."""
        raise GoSyntaxError(reason, self.text[start : self.at if end is None else end])

    def next(self) -> str:
        """Consumes and returns the next character; empty at the end."""
        char = self.text[self.at : self.at + 1]
        self.at += 1 if char else 0
        return char

    def number(self) -> int | None:
        """A number without leading zeros; None if there is none."""
        found = _NUMBER.match(self.text, self.at)
        if not found:
            return None
        self.at = found.end()
        return int(found[0][:10])  # more digits are too many in any case

    def unicode_class(self) -> UnicodeClass:
        r"""``\p`` or ``\P`` with a letter or a name in braces."""
        start = self.at
        negated = self.text[start + 1] == "P"
        self.at += 2
        if self.text.startswith("{", self.at):
            end = self.text.find("}", self.at)
            if end < 0:
                self.fail("invalid character class range", start, len(self.text))
            name = self.text[self.at + 1 : end]
            self.at = end + 1
        else:
            name = self.next()
        if name.startswith("^"):
            negated, name = not negated, name[1:]
        found = class_name(name)
        if found is None:
            self.fail("invalid character class range", start)
        return UnicodeClass(found, negated, self.fold)

    def escape(self) -> str:
        """The character that a backslash and what follows stand for."""
        start = self.at
        self.at += 1
        if octal := _OCTAL.match(self.text, self.at):
            self.at = octal.end()
            return chr(int(octal[0], 8))
        char = self.next()
        if not char:
            self.fail("trailing backslash at end of expression", start, start)
        value = self.hexadecimal() if char == "x" else -1
        if value >= 0:
            return chr(value)
        if char not in _ESCAPES and (char.isalnum() or not char.isascii()):
            self.fail("invalid escape sequence", start)
        return _ESCAPES.get(char, char)

    def hexadecimal(self) -> int:
        r"""The value after ``\x``, or -1."""
        char = self.next()
        if char != "{":
            if not char:
                return -1
            high, low = _unhex(char), _unhex(self.next())
            return high * 16 + low if high >= 0 and low >= 0 else -1
        value = digits = 0
        while char := self.next():
            if char == "}":
                return value if digits else -1
            digit = _unhex(char)
            value = value * 16 + digit
            digits += 1
            if digit < 0 or value > _MAX_RUNE:
                return -1
        return -1

    def class_char(self, whole: int) -> str:
        """A character in the class that began at ``whole``."""
        if self.at >= len(self.text):
            self.fail("missing closing ]", whole)
        return self.escape() if self.text[self.at] == "\\" else self.next()

    def posix_class(self, end: int) -> str:
        """``[:name:]``, which ends before ``end``."""
        text = self.text[self.at : end]
        if text[2:-2].removeprefix("^") not in _POSIX_CLASSES:
            self.fail("invalid character class range", self.at, end)
        self.at = end
        return text

    def range(self, whole: int) -> tuple[str, str]:
        """The first and last character of an item of the class that began at ``whole``."""
        start = self.at
        low = high = self.class_char(whole)
        if self.text.startswith("-", self.at) and self.text[self.at + 1 : self.at + 2] not in {"", "]"}:
            self.at += 1
            high = self.class_char(whole)
            if high < low:
                self.fail("invalid character class range", start)
        return low, high


def _unhex(char: str) -> int:
    return int(char, 16) if char and char in "0123456789abcdefABCDEF" else -1
