"""containerd's filter expressions (its package ``filters``): the grammar, and one selector evaluated on values.

Grammar: selectors joined by commas, all of which must hold; a selector is a field path (``name``, ``target.digest``,
``target.mediatype``, ``labels.<key>``, ``annotations.<key>``) with ``==``, ``!=`` or ``~=`` and a value, or alone (the
field is present). Fields and values may be quoted as Go strings, regular expressions also by ``/`` and ``|``. Errors are containerd's,
with positions counted in bytes.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from imgframe.errors import FilterError
from imgframe.golang import regexp
from imgframe.golang.unicode import SPACES, is_print

_END, _ILLEGAL = "", "illegal"
_FORBIDDEN = {"\ufffd": "rune error", "\0": "unexpected null"}
_FIELD = re.compile(r"[A-Za-z0-9_]+")
_OPERATOR = re.compile(r"[=!~]+")
_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
_ESCAPE = r"\\(?:[abfnrtv\\]|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"
_INSIDE = {mark: re.compile(rf"(?:[^{mark}\\\n\0\ufffd]|\\[{mark}]|{_ESCAPE})*+") for mark in '"/|'}
"""What may stand between two quotation marks of a kind."""
_BROKEN = re.compile(r"\\(?P<digits>[xuU][0-9a-fA-F]*|[0-7]+)?")
_ESCAPED = re.compile(rb"\\(?:x(..)|([0-7]{3})|u(.{4})|U(.{8})|(.))")


class Selector(NamedTuple):
    """One selector of an expression; the operator is empty if it tests presence."""

    path: tuple[str, ...]
    operator: str
    value: str


class _Scanner:
    """containerd's scanner: one token after the other; a value is read after an operator only."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.value = False

    def peek(self) -> str:
        char = self.text[self.place : self.place + 1]
        return _ILLEGAL if char in _FORBIDDEN else char

    def scan(self) -> tuple[int, str, str]:
        """Place, kind (quoted, separator, operator, value, field, illegal, other, or the end) and text.

        The text of what is illegal is the problem.
        """
        while self.peek() in SPACES:
            self.place += 1
        start, char = self.place, self.text[self.place : self.place + 1]
        if not char:
            return start, _END, ""
        problem = self._problem(char)
        return (
            (start, _ILLEGAL, problem)
            if problem
            else (start, self._kind(char), self.text[start : self.place])
        )

    def _problem(self, char: str) -> str:
        """What is illegal in the token that begins here with ``char``."""
        if char not in _INSIDE:
            return _FORBIDDEN.get(char, "")
        at = _INSIDE[char].match(self.text, self.place + 1).end()  # type: ignore[union-attr]
        if self.text.startswith(char, at):
            return ""
        problem = "quoted literal not terminated"
        if escape := _BROKEN.match(self.text, at):
            at = escape.end()
            problem = f"illegal {'numeric ' if escape['digits'] else ''}escape sequence"
        return _FORBIDDEN.get(self.text[at : at + 1], problem)

    def _kind(self, char: str) -> str:
        """The kind of the token that begins here with ``char``; moves behind it."""
        start = self.place
        self.place += 1
        if char in _INSIDE:
            self.place = _INSIDE[char].match(self.text, self.place).end() + 1  # type: ignore[union-attr]
            return "quoted"
        if char in {",", "."}:
            self.value = False
            return "separator"
        if operator := _OPERATOR.match(self.text, start):
            self.place = operator.end()
            self.value = True
            return "operator"
        if self.value:
            while _in_value(self.peek()):
                self.place += 1
            self.value = False
            return "value"
        if field := _FIELD.match(self.text, start):
            self.place = field.end()
            return "field"
        return "other"


def _in_value(char: str) -> bool:
    """Letters, numbers, marks, punctuation and symbols but the comma."""
    return char not in {_END, _ILLEGAL, ","} and char not in SPACES and is_print(char)


class _ExpressionParser:
    def __init__(self, text: str, end: str) -> None:
        self.text, self.end = text, end
        self.scanner = _Scanner(text)

    def error(self, place: int, problem: str) -> FilterError:
        data = self.text.encode("utf-8", "surrogatepass")
        at = len(self.text[:place].encode("utf-8", "surrogatepass"))
        where = self.text
        if at < len(data):
            parts = (data[:at], data[at : at + 1], data[at + 1 :])
            where = "{} >|{}|< {}".format(*(part.decode("utf-8", "replace") for part in parts))
        message = f"filters: parse error: [{where}]: {problem}{self.end}"
        return FilterError(message, go=message)

    def selectors(self) -> tuple[Selector, ...]:
        found = [self.selector()]
        while (char := self.scanner.peek()) != _END:
            if char != ",":
                shown = "\ufffd" if char == _ILLEGAL else char
                raise self.error(self.scanner.place, f"unexpected input: {shown}")
            self.scanner.scan()
            found.append(self.selector())
        return tuple(found)

    def selector(self) -> Selector:
        path = [self.field()]
        while self.scanner.peek() == ".":
            self.scanner.scan()
            path.append(self.field())
        if self.scanner.peek() in {",", _END}:
            return Selector(tuple(path), "", "")
        operator = self.operator()
        return Selector(tuple(path), operator, self.operand(quotes='"/|' if operator == "~=" else '"'))

    def token(self, kinds: set[str], expected: str) -> tuple[int, str, str]:
        start, kind, text = self.scanner.scan()
        if kind not in kinds:
            raise self.error(start, text if kind == _ILLEGAL else f"expected {expected}")
        return start, kind, text

    def field(self) -> str:
        start, kind, text = self.token({"field", "quoted"}, "field or quoted")
        return self.unquote(start, text, '"') if kind == "quoted" else text

    def operator(self) -> str:
        start, _, text = self.token({"operator"}, 'an operator ("=="|"!="|"~=")')
        if text not in {"==", "!=", "~="}:
            raise self.error(start, f'unsupported operator "{text}"')
        return text

    def operand(self, quotes: str) -> str:
        start, kind, text = self.token({"value", "field", "quoted"}, "value or quoted")
        return self.unquote(start, text, quotes) if kind == "quoted" else text

    def unquote(self, start: int, literal: str, quotes: str) -> str:
        if literal[0] not in quotes:
            raise self.error(start, "invalid quote encountered")

        def unescaped(found: re.Match[bytes]) -> bytes:
            byte, octal, short, long, char = found.groups()
            if char:
                return bytes([_SIMPLE.get(char.decode(), char[0])])
            code = int(octal, 8) if octal else int(byte or short or long, 16)
            if code >= 1 << 31 or 0xD800 <= code <= 0xDFFF:  # no character to Go, but no error
                code = 0xFFFD
            if code > (0xFF if byte or octal else 0x10FFFF):
                raise self.error(start, "unquoting failed: quote syntax error")
            return bytes([code]) if byte or octal else chr(code).encode()

        inside = literal[1:-1].encode("utf-8", "surrogatepass")
        return _ESCAPED.sub(unescaped, inside).decode("utf-8", "surrogateescape")


def parse(expression: str, end: str = ": invalid argument: invalid argument") -> tuple[Selector, ...]:
    """The selectors of an expression, all of which must hold; none for the empty text, which matches everything.

    Raises:
        FilterError: containerd refuses it; ``end`` is what the call appends to the message (Images/List does).

    Example:
        >>> from imgframe import containerd_filters
        >>> containerd_filters.parse('labels."a/b"==x,name')[0]
        Selector(path=('labels', 'a/b'), operator='==', value='x')
    """
    return _ExpressionParser(expression, end).selectors() if expression else ()


def is_utf8(value: str) -> bool:
    r"""Whether the value of a selector is valid UTF-8, as escapes such as ``\xc3`` can produce any byte.

    Example:
        >>> from imgframe import containerd_filters
        >>> [containerd_filters.is_utf8(each.value) for each in containerd_filters.parse(r'name=="\xc3\xbc",name=="\xc3"')]
        [True, False]
    """
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def holds(selector: Selector, values: list[str | None]) -> Any:
    """Whether the selector matches each value of its field; an absent value is the empty text where Go ignores presence.

    Example:
        >>> from imgframe import containerd_filters
        >>> (clause,) = containerd_filters.parse("name~=^a")
        >>> containerd_filters.holds(clause, ["ab", "ba", None]).tolist()
        [True, False, False]
    """
    if selector.operator == "":
        return np.array([value is not None for value in values])
    if selector.operator == "==":
        return np.array([value == selector.value for value in values])
    if selector.operator == "!=":
        return np.array([(value or "") != selector.value for value in values])
    if is_utf8(selector.value):
        try:
            return regexp.compile_regexp(selector.value).search([value or "" for value in values])
        except FilterError as error:
            if not error.go:
                raise
    return np.zeros(len(values), dtype=bool)  # containerd logs an invalid expression, which matches nothing
