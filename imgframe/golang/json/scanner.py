"""JSON text parsed into a tree, accepted and refused as by Go's encoding/json, without recursion.

A literal stays the bytes of the document, an array becomes a list, an object a :class:`Pairs`: keys in document order,
duplicates included.
"""

from __future__ import annotations

import re
from typing import Any

from imgframe.errors import DocumentError
from imgframe.golang import utf8
from imgframe.golang.strconv import quote

MAX_DEPTH = 10_000

Node = Any
"""bytes, list of nodes, or Pairs."""


class Pairs(list[tuple[str, Node]]):
    """The keys and values of an object."""

    __slots__ = ()


_WS = rb"[ \t\r\n]*+"
_INSIDE = rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*+)*+'
_TEXT = rb'"%b"' % _INSIDE
_DIGITS = rb"-?(?:0|[1-9][0-9]*+)"
_SCALAR = rb"(?:%b|%b(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+|true|false|null)" % (_TEXT, _DIGITS)
_TOKEN = re.compile(
    rb"%b(?:(%b)|(%b(\.[0-9]++)?+([eE][+-]?[0-9]++)?+)|(true|false|null)|([{}\[\],:]))"
    % (_WS, _TEXT, _DIGITS)
)
# runs of scalar elements or pairs, each with its comma
_ELEMENTS = re.compile(rb"(?:%b%b%b,)++" % (_WS, _SCALAR, _WS))
_ELEMENT = re.compile(_SCALAR)
_PAIRS = re.compile(rb"(?:%b%b%b:%b%b%b,)++" % (_WS, _TEXT, _WS, _WS, _SCALAR, _WS))
_PAIR = re.compile(rb"(%b)%b:%b(%b)" % (_TEXT, _WS, _WS, _SCALAR))
_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING, _NUMBER, _FRACTION, _EXPONENT, _LITERAL, _MARK = range(1, 7)

# what may come next, and Go's message for anything else
_VALUE = "looking for beginning of value"
_KEY = "looking for beginning of object key string"
_COLON = "after object key"
_AFTER_PAIR = "after object key:value pair"
_AFTER_ELEMENT = "after array element"
_END = "after top-level value"


def parse(data: bytes) -> Node:
    """The tree of a JSON text.

    Raises:
        DocumentError: with the message of Go's syntax error.
    """
    position, state, root = 0, _VALUE, None
    stack: list[tuple[list[Any], str | None]] = []  # the open containers, each with its pending key
    here: Any = None
    key: str | None = None
    opened = False  # a container was just opened: it may be closed at once
    match = _TOKEN.match
    while True:
        found = match(data, position)
        if found is None:
            position = _SPACE.match(data, position).end()  # type: ignore[union-attr]
            if state is _END and position == len(data):
                return root
            raise _unexpected(data, position, state)
        kind = found.lastindex or 0
        if kind in {_FRACTION, _EXPONENT}:
            kind = _NUMBER
        token = found[kind]
        start, position = found.start(kind), found.end()
        if kind == _MARK:
            if state is _VALUE and token in b"[{":
                if len(stack) >= MAX_DEPTH:
                    raise _invalid(data, start, "exceeded max depth")
                fresh: Any = Pairs() if token == b"{" else []
                stack.append((here, key))
                _put(here, key, fresh)
                here, key, opened = fresh, None, True
                state = _KEY if token == b"{" else _VALUE
                root = fresh if root is None else root
                ahead = _run(data, position, here)
                opened, position = ahead == position, ahead
                continue
            is_object = type(here) is Pairs
            closes = token == (b"}" if is_object else b"]") and here is not None
            if closes and (opened or state is _AFTER_PAIR or state is _AFTER_ELEMENT):
                here, key = stack.pop()
                state = _after(here)
                opened = False
                continue
            if token == b"," and (state is _AFTER_PAIR or state is _AFTER_ELEMENT):
                state = _KEY if is_object else _VALUE
                position = _run(data, position, here)
                continue
            if token == b":" and state is _COLON:
                state = _VALUE
                continue
            raise _invalid(data, start, state)
        opened = False
        if state is _KEY and kind == _STRING:
            key, state = text(token), _COLON
        elif state is _VALUE:
            if kind == _NUMBER:
                _check_number(data, found)
            _put(here, key, token)
            root = token if root is None else root
            state = _after(here)
        else:
            raise _invalid(data, start, state)


def _run(data: bytes, position: int, here: Any) -> int:
    """Reads the scalar elements or pairs that follow, up to their last comma; returns the offset after it."""
    if type(here) is Pairs:
        found = _PAIRS.match(data, position)
        if found:
            here.extend((text(key), value) for key, value in _PAIR.findall(data, position, found.end()))
    else:
        found = _ELEMENTS.match(data, position)
        if found:
            here.extend(_ELEMENT.findall(data, position, found.end()))
    return found.end() if found else position


def _put(here: Any, key: str | None, value: Node) -> None:
    if type(here) is Pairs:
        here.append((key, value))  # type: ignore[arg-type]
    elif here is not None:
        here.append(value)


def _after(here: Any) -> str:
    if here is None:
        return _END
    return _AFTER_PAIR if type(here) is Pairs else _AFTER_ELEMENT


def _check_number(data: bytes, found: re.Match[bytes]) -> None:
    """Refuses a fraction or an exponent without digits, which the pattern does not match."""
    end = found.end()
    following = data[end : end + 1]
    if following == b"." and found[_FRACTION] is None and found[_EXPONENT] is None:
        raise _invalid(data, end + 1, "after decimal point in numeric literal")
    if following in {b"e", b"E"} and found[_EXPONENT] is None:
        sign = data[end + 1 : end + 2] in {b"+", b"-"}
        raise _invalid(data, end + 1 + sign, "in exponent of numeric literal")


def _unexpected(data: bytes, position: int, state: str) -> DocumentError:
    """The error at an offset where no token matches."""
    first = data[position : position + 1]
    if not first:
        return DocumentError("unexpected end of JSON input")
    if first == b'"' and state in {_KEY, _VALUE}:
        return _bad_string(data, position + 1)
    if state is _VALUE:
        if first == b"-":
            return _invalid(data, position + 1, "in numeric literal")
        for word in (b"true", b"false", b"null"):
            if word.startswith(first):
                place = next(
                    at for at in range(1, 6) if data[position + at : position + at + 1] != word[at : at + 1]
                )
                where = f"in literal {word.decode()} (expecting '{chr(word[place])}')"
                return _invalid(data, position + place, where)
    return _invalid(data, position, state)


def _bad_string(data: bytes, position: int) -> DocumentError:
    end = re.compile(_INSIDE).match(data, position).end()  # type: ignore[union-attr]
    if end == len(data):
        return DocumentError("unexpected end of JSON input")
    if data[end] != ord("\\"):
        return _invalid(data, end, "in string literal")
    if data[end + 1 : end + 2] != b"u":
        return _invalid(data, end + 1, "in string escape code")
    digits = re.compile(rb"[0-9A-Fa-f]*").match(data, end + 2).end()  # type: ignore[union-attr]
    return _invalid(data, digits, "in \\u hexadecimal character escape")


def _invalid(data: bytes, position: int, where: str) -> DocumentError:
    """Go's syntax error about one byte; beyond the end Go sees a blank."""
    byte = chr(data[position]) if position < len(data) else " "
    shown = {"'": r"'\''", '"': "'\"'"}.get(byte) or f"'{quote(byte)[1:-1]}'"
    return DocumentError(f"invalid character {shown} {where}")


def scalars(node: Node) -> dict[str, str | int]:
    """The texts and natural numbers among the values of an object; nothing of any other node."""
    found: dict[str, str | int] = {}
    for key, value in node if type(node) is Pairs else ():
        if type(value) is bytes and value.startswith(b'"'):
            found[key] = text(value)
        elif type(value) is bytes and value.isdigit():
            found[key] = int(value)
    return found


_ESCAPE = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\(.)", re.DOTALL
)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def text(token: bytes) -> str:
    """The text of a string literal: each invalid byte and each lone surrogate becomes U+FFFD."""
    plain = utf8.decode(token[1:-1])
    return _ESCAPE.sub(_unescaped, plain) if "\\" in plain else plain


def _unescaped(found: re.Match[str]) -> str:
    high, low, code, short = found.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF))
    if code:
        value = int(code, 16)
        return "\N{REPLACEMENT CHARACTER}" if 0xD800 <= value <= 0xDFFF else chr(value)
    return _SHORT.get(short, short)
