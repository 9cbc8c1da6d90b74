"""Classes of characters as Go's package unicode has them: Unicode 15.0, whatever Python's own version knows."""

from __future__ import annotations

SPACES = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | set(
    map(chr, range(0x2000, 0x200B))
)
"""What ``unicode.IsSpace`` takes for white space."""

# Printable characters of Unicode 15.0 that are not in 14.0, which Python 3.11 has.
_SINCE_15 = (
    "cf3 ece 10efd-10eff 1123f-11241 11b00-11b09 11f00-11f10 11f12-11f3a 11f3e-11f59 1342f 13440-13455 "
    "1b132 1b155 1d2c0-1d2d3 1df25-1df2a 1e030-1e06d 1e08f 1e4d0-1e4f9 1f6dc 1f774-1f776 1f77b-1f77f "
    "1f7d9 1fa75-1fa77 1fa87-1fa88 1faad-1faaf 1fabb-1fabd 1fabf 1face-1facf 1fada-1fadb 1fae8 "
    "1faf7-1faf8 2b739 31350-323af"
)
_SINCE_15_RANGES = tuple(
    (int(first, 16), int(last or first, 16))
    for first, _, last in (each.partition("-") for each in _SINCE_15.split())
)
# Upper-case letters that got a lower-case form after Unicode 15.0: newer Pythons know them, Go does not.
_UPPER_SINCE_16 = frozenset(
    [
        *(0xA7CB, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA, 0xA7DC),
        *range(0x10D50, 0x10D66),
        *range(0x16EA0, 0x16EB9),
    ]
)


def is_print(char: str) -> bool:
    r"""Whether the character is a letter, mark, number, punctuation, symbol or the ASCII space (``unicode.IsPrint``).

    Example:
        >>> from imgframe.golang import unicode
        >>> unicode.is_print("é"), unicode.is_print("\u200b"), unicode.is_print("\U0001fae8")
        (True, False, True)
    """
    return char.isprintable() or any(first <= ord(char) <= last for first, last in _SINCE_15_RANGES)


def to_lower(char: str) -> str:
    """The simple lower case of one character (``unicode.ToLower``)."""
    if ord(char) in _UPPER_SINCE_16:
        return char
    low = char.lower()
    return low if len(low) == 1 else low[0]  # U+0130 alone has a longer form; its simple one is "i"
