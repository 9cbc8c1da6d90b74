"""Base64 as Go's ``base64.StdEncoding`` reads it: line breaks are skipped, padding is required."""

from __future__ import annotations

import base64
import re

_WHOLE = re.compile(rb"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?+")
_LETTERS = re.compile(rb"(?:[\r\n]*+[A-Za-z0-9+/])*+[\r\n]*+")
_PADDING = re.compile(rb"=[\r\n]*+")


def decode(text: bytes) -> tuple[bytes, int | None]:
    """The bytes and None, or nothing and the offset of the byte that Go reports."""
    bare = text.replace(b"\r", b"").replace(b"\n", b"")
    if _WHOLE.fullmatch(bare):
        return base64.b64decode(bare), None
    return b"", _bad_byte(text)


def _bad_byte(text: bytes) -> int:
    """The offset that Go reports; it reads four letters at a time."""
    letters = _LETTERS.match(text)
    assert letters is not None  # the pattern matches the empty text
    at, count = letters.end(), len(b"".join(letters[0].split())) % 4
    if at == len(text):
        return at - count
    padding = _PADDING.match(text, at)
    if not padding or count < 2:
        return at
    at = padding.end()
    if count == 3 or at == len(text):
        return at
    second = _PADDING.match(text, at)
    return second.end() if second else at - 1
