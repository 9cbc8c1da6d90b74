"""Sizes as people write them: ``50GB``, ``50GiB``, or a number of bytes."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def read_bytes(value: Any) -> int:
    """Bytes of a whole number or of text such as ``50GB`` (1000), ``50GiB`` (1024) or ``7000``.

    Raises:
        ValueError: anything else.

    Example:
        >>> read_bytes("2GiB"), read_bytes("1.5 kB"), read_bytes(7)
        (2147483648, 1500, 7)
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    text = value.strip() if isinstance(value, str) else ""
    if text.isascii() and text.isdigit():
        return int(text)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b", text, re.IGNORECASE | re.ASCII)
    if not found:
        raise ValueError("expected bytes, as a whole number or as text such as '50GB' or '50GiB'")
    factor = (1024 if found[3] else 1000) ** _UNITS[found[2].lower()]
    whole, _, part = found[1].partition(".")
    return int(whole) * factor + (int(part) * factor // 10 ** len(part) if part else 0)
