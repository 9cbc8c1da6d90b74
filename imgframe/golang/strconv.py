"""Text as Go prints it in its errors: ``%q`` of fmt, ``strconv.Quote``."""

from __future__ import annotations

from imgframe.golang import unicode

_ESCAPES = {char: f"\\{letter}" for char, letter in zip('\a\b\f\n\r\t\v\\"', 'abfnrtv\\"', strict=True)}


def quote(text: str) -> str:
    r"""The text in double quotes as ``%q`` prints it (``strconv.Quote``).

    Example:
        >>> from imgframe.golang import strconv
        >>> print(strconv.quote('a"b\n\x00é\u200b'))
        "a\"b\n\x00é\u200b"
    """
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(_ESCAPES.get(char) or _escaped(char) for char in text)}"'


def _escaped(char: str) -> str:
    code = ord(char)
    if unicode.is_print(char):
        return char
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if 0xD800 <= code <= 0xDFFF:  # not a character in Go: its bytes were not UTF-8
        return "\N{REPLACEMENT CHARACTER}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
