"""containerd's filter expressions (its package ``filters``): the grammar, and one selector evaluated on values.

Grammar: selectors joined by commas, all of which must hold; a selector is a field path (``name``, ``target.digest``,
``target.mediatype``, ``labels.<key>``, ``annotations.<key>``) with ``==``, ``!=`` or ``~=`` and a value, or alone (the
field is present). Fields and values may be quoted as Go strings, regular expressions also by ``/`` and ``|``. Errors are containerd's,
with positions counted in bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from imgframe.errors import FilterError
from imgframe.golang import regexp
from imgframe.golang.unicode import SPACES, is_print

_END, _ILLEGAL = "", "illegal"
_FIELD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_OPERATOR = frozenset("=!~")
_QUOTE = frozenset('"/|')
_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
_DIGITS = {"x": (16, 2), "u": (16, 4), "U": (16, 8)}


class Selector(NamedTuple):
    """One selector of an expression; the operator is empty if it tests presence."""

    path: tuple[str, ...]
    operator: str
    value: str


class _Scanner:
    """containerd's scanner: one token after the other; a value is read after an operator only."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.start = 0
        self.place = 0
        self.value = False
        self.problem = ""

    def next(self) -> str:
        self.start = self.place
        if self.place >= len(self.text):
            return _END
        char = self.text[self.place]
        self.place += 1
        if char == "\ufffd":
            self.complain("rune error")
            return _ILLEGAL
        if char == "\0":
            self.complain("unexpected null")
            return _ILLEGAL
        return char

    def peek(self) -> str:
        saved = self.start, self.place
        char = self.next()
        self.start, self.place = saved
        return char

    def complain(self, problem: str) -> None:
        self.problem = self.problem or problem

    def scan(self) -> tuple[int, str, str]:
        """Place, kind (quoted, separator, operator, value, field, illegal, or the character itself) and text."""
        char = self.next()
        while char in SPACES:
            char = self.next()
        start = self.start
        if char in {_END, _ILLEGAL}:
            return start, char, ""
        kind = self._kind(char)
        return start, kind, self.text[start : self.place]

    def _kind(self, char: str) -> str:
        if char in _QUOTE:
            return "quoted" if self._quoted(char) else _ILLEGAL
        if char in {",", "."}:
            self.value = False
            return "separator"
        if char in _OPERATOR:
            while self.peek() in _OPERATOR:
                self.next()
            self.value = True
            return "operator"
        if self.value:
            while _in_value(self.peek()):
                self.next()
            self.value = False
            return "value"
        if char in _FIELD:
            while self.peek() in _FIELD:
                self.next()
            return "field"
        return "other"

    def _quoted(self, quote: str) -> bool:
        legal = True
        char = self.next()
        while char != quote:
            if char in {"\n", _END, _ILLEGAL}:
                self.complain("quoted literal not terminated")
                return False
            if char == "\\":
                char, fine = self._escape(quote)
                legal &= fine
            else:
                char = self.next()
        return legal

    def _escape(self, quote: str) -> tuple[str, bool]:
        char = self.next()
        if char in _SIMPLE or char == quote:
            return self.next(), True
        if char in "01234567" and char:
            return self._digits(char, 8, 3)
        if char in _DIGITS:
            return self._digits(self.next(), *_DIGITS[char])
        self.complain("illegal escape sequence")
        return char, False

    def _digits(self, char: str, base: int, count: int) -> tuple[str, bool]:
        while count and len(char) == 1 and char in "0123456789abcdefABCDEF" and int(char, 16) < base:
            char = self.next()
            count -= 1
        if count:
            self.complain("illegal numeric escape sequence")
        return char, not count


def _in_value(char: str) -> bool:
    """Letters, numbers, marks, punctuation and symbols but the comma."""
    if char in {_END, _ILLEGAL, ","} or char in SPACES:
        return False
    return is_print(char)


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

    def field(self) -> str:
        start, kind, text = self.scanner.scan()
        if kind == "field":
            return text
        if kind == "quoted":
            return self.unquote(start, text, '"')
        if kind == _ILLEGAL:
            raise self.error(start, self.scanner.problem)
        raise self.error(start, "expected field or quoted")

    def operator(self) -> str:
        start, kind, text = self.scanner.scan()
        if kind == "operator":
            if text not in {"==", "!=", "~="}:
                raise self.error(start, f'unsupported operator "{text}"')
            return text
        if kind == _ILLEGAL:
            raise self.error(start, self.scanner.problem)
        raise self.error(start, 'expected an operator ("=="|"!="|"~=")')

    def operand(self, quotes: str) -> str:
        start, kind, text = self.scanner.scan()
        if kind in {"value", "field"}:
            return text
        if kind == "quoted":
            return self.unquote(start, text, quotes)
        if kind == _ILLEGAL:
            raise self.error(start, self.scanner.problem)
        raise self.error(start, "expected value or quoted")

    def unquote(self, start: int, literal: str, quotes: str) -> str:
        if literal[0] not in quotes:
            raise self.error(start, "invalid quote encountered")
        out = bytearray()
        inside, place = literal[1:-1], 0
        while place < len(inside):
            char = inside[place]
            place += 1
            if char != "\\":
                out += char.encode("utf-8", "surrogatepass")
                continue
            kind = inside[place]
            place += 1
            if kind in _SIMPLE:
                out.append(_SIMPLE[kind])
            elif kind in literal[0]:
                out += kind.encode()
            else:
                base, count = _DIGITS.get(kind, (8, 3))
                place -= base == 8
                code = int(inside[place : place + count], base)
                place += count
                out += self._code(start, kind, code)
        return out.decode("utf-8", "surrogateescape")

    def _code(self, start: int, kind: str, code: int) -> bytes:
        if kind == "U" and code >= 1 << 31:  # negative to Go: neither a character nor an error
            code = 0xFFFD
        if code > (0x10FFFF if kind in "uU" else 0xFF):
            raise self.error(start, "unquoting failed: quote syntax error")
        if kind not in "uU":
            return bytes([code])
        return chr(code).encode("utf-8", "replace") if not 0xD800 <= code <= 0xDFFF else "\ufffd".encode()


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
    if not is_utf8(selector.value):
        return np.zeros(len(values), dtype=bool)
    try:
        compiled = regexp.compile_regexp(selector.value)
    except FilterError as error:
        if not error.go:
            raise
        return np.zeros(
            len(values), dtype=bool
        )  # containerd logs an invalid expression, which matches nothing
    return compiled.search([value or "" for value in values])
