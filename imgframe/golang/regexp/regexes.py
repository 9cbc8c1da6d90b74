"""Go's regular expressions, evaluated by RE2."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe.errors import FilterError
from imgframe.golang.regexp import evaluation
from imgframe.golang.regexp.cursor import GoSyntaxError
from imgframe.golang.regexp.syntax import Bracket, Syntax, parse_go_regexp
from imgframe.golang.regexp.unicode_names import members

_LONGEST = 65_536
_ASCII = tuple(map(chr, range(128)))


class GoRegexp:
    r"""A valid regular expression of Go.

    Example:
        >>> from imgframe.golang import regexp
        >>> regexp.compile_regexp(r"^\p{letter}+:\d").search(["alpine:3", "3:3"]).tolist()
        [True, False]
    """

    __slots__ = ("_syntax", "pattern")

    def __init__(self, syntax: Syntax) -> None:
        self.pattern = syntax.pattern
        self._syntax = syntax

    def search(self, texts: Any) -> np.ndarray:
        """Whether the pattern is found anywhere in each text: a numpy mask, false where the text is null.

        ``texts``: Arrow strings or any iterable of text; give unique ones. Raises
        :class:`~imgframe.errors.FilterError` if the pattern is too large or would take too long over these texts.
        """
        values = texts if isinstance(texts, (pa.Array, pa.ChunkedArray)) else pa.array(texts, pa.string())
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        return evaluation.search(values, self._for_re2(values), self._syntax.size, self.pattern)

    def _for_re2(self, texts: pa.Array) -> str:
        """The pattern rewritten so that RE2 matches ``texts`` as Go does."""
        parts = []
        at = 0
        chars: tuple[str, ...] = ()
        for start, end, new in self._syntax.edits:
            if isinstance(new, Bracket):
                chars = chars or _characters(texts)
                new = _written_out(new, chars)
            parts += [self.pattern[at:start], new]
            at = end
        regex = "".join([*parts, self.pattern[at:]])
        if self._syntax.has_non_boundary and pc.all(pc.string_is_ascii(texts)).as_py() is False:
            return rf"\A(?s:.*?)(?:{regex})"  # so that matches begin at whole characters only
        return regex


def _characters(texts: pa.Array) -> tuple[str, ...]:
    """Every character that can occur: ASCII, and the others that are in ``texts``."""
    strange = pc.filter(texts, pc.invert(pc.string_is_ascii(texts)))
    others = {char for text in strange.to_pylist() if text for char in text if not char.isascii()}
    return (*_ASCII, *sorted(others))


def _written_out(bracket: Bracket, chars: tuple[str, ...]) -> str:
    """A class of RE2 that has the members of ``bracket`` among ``chars``."""
    wanted = np.zeros(len(chars), bool)
    for each in bracket.unicode:
        wanted |= members(each.name, each.fold, chars) != each.negated
    codes = [ord(char) for char, is_member in zip(chars, wanted, strict=True) if is_member]
    runs: list[list[int]] = []
    for code in codes:
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    items = bracket.plain + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in runs)
    if not items:
        return r"[\x00-\x{10FFFF}]" if bracket.negated else r"[^\x00-\x{10FFFF}]"
    return f"[{'^' if bracket.negated else ''}{items}]"


@functools.lru_cache(maxsize=256)
def compile_regexp(pattern: str) -> GoRegexp:
    """The compiled pattern (``regexp.Compile``).

    Raises :class:`~imgframe.errors.FilterError`: with Go's message, also its attribute ``go``, where Go refuses the
    pattern; with an empty ``go`` if it is longer than 65,536 characters.

    Example:
        >>> from imgframe.golang import regexp
        >>> regexp.compile_regexp("a**")
        Traceback (most recent call last):
        imgframe.errors.FilterError: pattern 'a**': error parsing regexp: invalid nested repetition operator: `**`
    """
    if len(pattern) > _LONGEST:
        why = f"has {len(pattern)} characters, at most {_LONGEST} are expected"
        raise evaluation.too_costly(pattern, why)
    try:
        return GoRegexp(parse_go_regexp(pattern))
    except GoSyntaxError as error:
        raise FilterError(f"pattern {pattern!r}: {error}", go=str(error)) from None
