"""Text as Go prints it inside its errors: ``%q`` of fmt, and the quoting that encoding/json and time do for themselves."""

from __future__ import annotations

import codecs

_ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}


def quote(text: str) -> str:
    r"""The text in double quotes as ``%q`` prints it (strconv.Quote).

    Example:
        >>> print(quote('a"b\n\x00é\u200b'))
        "a\"b\n\x00é\u200b"
    """
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(_ESCAPES.get(char) or _escaped(char) for char in text)}"'


def _escaped(char: str) -> str:
    code = ord(char)
    if char.isprintable():
        return char
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if 0xD800 <= code <= 0xDFFF:  # not a character in Go: its bytes were not UTF-8
        return "\N{REPLACEMENT CHARACTER}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def lower(text: str) -> str:
    """The text in lower case, each character for itself, as strings.ToLower does it.

    Example:
        >>> lower("LINUX"), lower("İΣ")
        ('linux', 'iσ')
    """
    if text.isascii():
        return text.lower()
    return "".join("i" if char == "İ" else char.lower() for char in text)


def _each_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\N{REPLACEMENT CHARACTER}" * (error.end - error.start), error.end


codecs.register_error("imgframe.go", _each_byte)


def decode(data: bytes) -> str:
    r"""The text of UTF-8 bytes, each byte that is not UTF-8 for itself as U+FFFD, as Go reads them.

    Python's own ``replace`` makes one character of a beginning that is cut off.

    Example:
        >>> decode(b"a\xe2\x82"), b"a\xe2\x82".decode("utf-8", "replace")
        ('a\ufffd\ufffd', 'a\ufffd')
    """
    return data.decode("utf-8", "imgframe.go")
