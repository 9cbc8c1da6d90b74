"""Base64 as Go's ``base64.StdEncoding`` reads it: line breaks are skipped, padding is required."""

from __future__ import annotations

import base64
import re

_WHOLE = re.compile(rb"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?+")
_LETTER = re.compile(rb"[A-Za-z0-9+/]")


def decode(text: bytes) -> tuple[bytes, int | None]:
    """The bytes and None, or nothing and the offset of the byte that Go reports."""
    bare = text.replace(b"\r", b"").replace(b"\n", b"")
    if _WHOLE.fullmatch(bare):
        return base64.b64decode(bare), None
    return b"", _bad_byte(text)


def _bad_byte(text: bytes) -> int:
    """The offset that Go reports; it reads four letters at a time."""
    at, count = 0, 0
    while at < len(text):
        byte = text[at : at + 1]
        at += 1
        if byte in b"\r\n":
            continue
        if _LETTER.match(byte):
            count = (count + 1) % 4
            continue
        if byte != b"=" or count < 2:
            return at - 1
        at = _skip_line_breaks(text, at)
        if count == 2:
            if at == len(text):
                return at
            if text[at : at + 1] != b"=":
                return at - 1
            at = _skip_line_breaks(text, at + 1)
        return at
    return at - count


def _skip_line_breaks(text: bytes, at: int) -> int:
    while text[at : at + 1] in {b"\r", b"\n"}:
        at += 1
    return at
