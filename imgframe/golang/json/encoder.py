"""Strings as Go's encoding/json writes them, ``<``, ``>`` and ``&`` escaped."""

from __future__ import annotations

import re

_ESCAPES = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def string(value: str) -> str:
    r"""The text as a JSON string.

    Example:
        >>> from imgframe.golang.json import encoder
        >>> print(encoder.string("a<b"))
        "a\u003cb"
    """
    return '"' + _ESCAPES.sub(lambda found: _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}", value) + '"'
