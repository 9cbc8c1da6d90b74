"""Lower case as Go's ``strings.ToLower`` has it: one code point at a time, simple mapping, Unicode 15."""

from __future__ import annotations

# Upper-case letters that got a lower-case form after Unicode 15: a newer Python knows them, Go does not.
_YOUNGER = frozenset(
    [
        *(0xA7CB, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA, 0xA7DC),
        *range(0x10D50, 0x10D66),
        *range(0x16EA0, 0x16EB9),
    ]
)


def _lower_one(char: str) -> str:
    if ord(char) in _YOUNGER:
        return char
    low = char.lower()
    return low if len(low) == 1 else low[0]  # U+0130 alone has a longer form; its simple one is "i"


def go_lower(text: str) -> str:
    """``text`` with every code point replaced by its simple lower case (Go: ``strings.ToLower``).

    Differs from :meth:`str.lower` at U+0130, which gives ``i``, and at a final sigma, which gets no form of its own.

    Example:
        >>> from imgframe.golang.strings import go_lower
        >>> go_lower("K\u0130\u212a"), go_lower("\u03a3")
        ('kik', 'σ')
    """
    return text.lower() if text.isascii() else "".join(map(_lower_one, text))
