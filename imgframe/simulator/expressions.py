"""containerd's filter expressions, as its services evaluate them: ``field==value``, ``!=``, ``~=``, bare ``field``.

Commas in one expression mean and, several expressions mean or, an empty one or none matches all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from imgframe.errors import FilterError

T = TypeVar("T")
Field = Callable[[T, list[str]], str | None]
"""Value of a field of a record, or None where it is absent."""

_OPERATORS = "=!~"
_QUOTES = '"/|'
_END = ""


class Selector(NamedTuple):
    """One clause: a field path, an operator (empty: present) and a value."""

    path: list[str]
    operator: str
    value: str


class _Parser:
    """A cursor over one expression; every error tells its place the way containerd does."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0

    def error(self, place: int, message: str) -> FilterError:
        before, after = self.text[:place].encode(), self.text[place:].encode()
        # containerd points at a byte, which may be half a character
        where = b"%s >|%s|< %s" % (before, after[:1], after[1:]) if after else before
        return FilterError(f"filters: parse error: [{where.decode(errors='replace')}]: {message}")

    def peek(self) -> str:
        return self.text[self.place] if self.place < len(self.text) else _END

    def skip(self) -> str:
        """The next character that is no space."""
        while self.peek().isspace():
            self.place += 1
        return self.peek()

    def take(self, allowed: Callable[[str], bool]) -> str:
        start = self.place
        while self.place < len(self.text) and allowed(self.text[self.place]):
            self.place += 1
        return self.text[start : self.place]

    def selectors(self) -> list[Selector]:
        found = [self.selector()]
        while char := self.peek():
            if char != ",":
                raise self.error(self.place, f"unexpected input: {char}")
            self.place += 1
            found.append(self.selector())
        return found

    def selector(self) -> Selector:
        path = [self.field()]
        while self.peek() == ".":
            self.place += 1
            path.append(self.field())
        if self.peek() in {",", _END}:
            return Selector(path, "", "")
        operator = self.operator()
        return Selector(path, operator, self.value(alternative=operator == "~="))

    def field(self) -> str:
        char, start = self.skip(), self.place
        if char and char in _QUOTES:
            return self.quoted(alternative=False)
        if name := self.take(lambda each: each == "_" or (each.isascii() and each.isalnum())):
            return name
        raise self.error(start, "expected field or quoted")

    def operator(self) -> str:
        self.skip()
        start = self.place
        text = self.take(lambda each: each in _OPERATORS)
        if text in {"==", "!=", "~="}:
            return text
        if text:
            raise self.error(start, f'unsupported operator "{text}"')
        raise self.error(start, 'expected an operator ("=="|"!="|"~=")')

    def value(self, *, alternative: bool) -> str:
        char, start = self.skip(), self.place
        if char and char in _QUOTES:
            return self.quoted(alternative=alternative)
        if char not in {".", ","} and char not in _OPERATORS and (text := self.take(_in_value)):
            return text
        raise self.error(start, "expected value or quoted")

    def quoted(self, *, alternative: bool) -> str:
        start, quote = self.place, self.text[self.place]
        end = start + 1
        while end < len(self.text) and self.text[end] != quote:
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text):
            raise self.error(start, "quoted literal not terminated")
        self.place = end + 1
        inside = self.text[start + 1 : end]
        if quote == '"':
            return self.unquote(start, inside)
        if not alternative:
            raise self.error(start, "invalid quote encountered")
        return inside.replace(f"\\{quote}", quote)

    def unquote(self, start: int, inside: str) -> str:
        def character(match: re.Match[str]) -> str:
            code = match[1]
            if code in _ESCAPES:
                return _ESCAPES[code]
            if code[0] in "xuU" and len(code) > 1:
                return chr(int(code[1:], 16))
            if len(code) == 3 and code.isdecimal():
                return chr(int(code, 8))
            raise self.error(start, "illegal escape sequence")

        return _ESCAPED.sub(character, inside)


_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'",
}  # fmt: skip
_ESCAPED = re.compile(r"\\([0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.|$)", re.DOTALL)


def _in_value(char: str) -> bool:
    return char != "," and not char.isspace() and unicodedata.category(char)[0] in "LMNPSZ"


def parse(text: str) -> list[Selector]:
    """The clauses of one expression, all of which must hold; none where it is empty.

    Raises:
        FilterError: containerd would refuse it; the message is containerd's.

    Example:
        >>> from imgframe.simulator.expressions import parse
        >>> parse('labels."a/b"==x,name')[0]
        Selector(path=['labels', 'a/b'], operator='==', value='x')
    """
    return _Parser(text).selectors() if text else []


def select(filters: Iterable[str], records: Iterable[T], field: Field[T]) -> list[T]:
    """The records that any of the filters matches, in their order; all where there is no filter.

    Example:
        >>> from imgframe.simulator.expressions import select
        >>> select(["name~=^b"], ["ab", "ba"], lambda record, path: record)
        ['ba']
    """
    rows = list(records)
    parsed = [parse(text) for text in filters]
    if not parsed or not all(parsed):
        return rows
    kept: set[int] = set()
    for clauses in parsed:
        places = [place for place in range(len(rows)) if place not in kept]
        for clause in clauses:
            values = [field(rows[place], clause.path) for place in places]
            places = [place for place, fits in zip(places, _holds(clause, values), strict=True) if fits]
        kept.update(places)
    return [row for place, row in enumerate(rows) if place in kept]


def _holds(clause: Selector, values: list[str | None]) -> list[bool]:
    if clause.operator == "":
        return [value is not None for value in values]
    if clause.operator == "==":
        return [value == clause.value for value in values]
    if clause.operator == "!=":
        return [(value or "") != clause.value for value in values]
    texts = pa.array([value or "" for value in values], pa.string())
    try:
        found: list[bool] = pc.match_substring_regex(texts, clause.value).to_pylist()
    except pa.ArrowInvalid:  # containerd logs the broken expression and matches nothing
        return [False] * len(values)
    return found


def of_map(values: Mapping[str, str], path: list[str]) -> str | None:
    """The value under the rest of a path in a map of labels; dots in it belong to the key."""
    return values.get(".".join(path))
