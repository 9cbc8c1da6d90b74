"""fmt: what Sprintf makes of a format for which there are no arguments.

Source: ``fmt/print.go`` (doPrintf).
"""

from __future__ import annotations

import re

_VERB = re.compile(r"%[#+\- 0]*(?:\d+|\*)?(?:\.(?:\d+|\*)?)?(.)?", re.DOTALL)


def sprintf_without_arguments(text: str) -> str:
    """The text as a format to which nothing is given: each verb says that its argument is missing.

    Example:
        >>> sprintf_without_arguments("100% full, %d, 5%% or 5%")
        '100%!f(MISSING)ull, %!d(MISSING), 5% or 5%!(NOVERB)'
    """
    return _VERB.sub(_missing, text)


def _missing(found: re.Match[str]) -> str:
    verb = found[1]
    if verb is None:
        return "%!(NOVERB)"
    return "%" if verb == "%" else f"%!{verb}(MISSING)"
