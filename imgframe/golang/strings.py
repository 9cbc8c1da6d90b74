"""Lower case as Go's package strings has it."""

from __future__ import annotations

from imgframe.golang import unicode


def to_lower(text: str) -> str:
    """``text`` in lower case, each character for itself (``strings.ToLower``).

    Differs from :meth:`str.lower` at U+0130, which gives ``i``, and at a final sigma, which gets no form of its own.

    Example:
        >>> from imgframe.golang import strings
        >>> strings.to_lower("K\u0130\u212a"), strings.to_lower("\u03a3")
        ('kik', 'σ')
    """
    return text.lower() if text.isascii() else "".join(map(unicode.to_lower, text))
