"""UTF-8 as Go's package unicode/utf8 decodes it."""

from __future__ import annotations

import codecs


def _each_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\N{REPLACEMENT CHARACTER}" * (error.end - error.start), error.end


codecs.register_error("imgframe.go", _each_byte)


def decode(data: bytes) -> str:
    r"""The text of UTF-8 bytes; every byte that is not part of a valid character becomes U+FFFD (``utf8.DecodeRune``).

    Python's own ``replace`` gives one U+FFFD for a whole truncated character.

    Example:
        >>> from imgframe.golang import utf8
        >>> utf8.decode(b"a\xe2\x82"), b"a\xe2\x82".decode("utf-8", "replace")
        ('a\ufffd\ufffd', 'a\ufffd')
    """
    return data.decode("utf-8", "imgframe.go")
