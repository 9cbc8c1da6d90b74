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


# What Unicode 15.0, Go's, has more than 14.0, which Python 3.11 knows.
_YOUNGER = (
    "cf3 ece 10efd-10eff 1123f-11241 11b00-11b09 11f00-11f10 11f12-11f3a 11f3e-11f59 1342f 13440-13455 "
    "1b132 1b155 1d2c0-1d2d3 1df25-1df2a 1e030-1e06d 1e08f 1e4d0-1e4f9 1f6dc 1f774-1f776 1f77b-1f77f "
    "1f7d9 1fa75-1fa77 1fa87-1fa88 1faad-1faaf 1fabb-1fabd 1fabf 1face-1facf 1fada-1fadb 1fae8 "
    "1faf7-1faf8 2b739 31350-323af"
)
_YOUNGER_RANGES = tuple(
    (int(first, 16), int(last or first, 16))
    for first, _, last in (each.partition("-") for each in _YOUNGER.split())
)


def printable(char: str) -> bool:
    r"""Whether Go prints the character as it is: a letter, mark, number, punctuation, symbol or blank (unicode.IsPrint).

    Example:
        >>> printable("é"), printable("\u200b"), printable("\U0001fae8")
        (True, False, True)
    """
    return char.isprintable() or any(first <= ord(char) <= last for first, last in _YOUNGER_RANGES)


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
    if printable(char):
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
