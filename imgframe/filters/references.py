"""Filters by the image's name: reference patterns, dangling, tagged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from imgframe import reference
from imgframe.errors import InputError
from imgframe.filters import columns
from imgframe.filters.filter import Filter, Truth, View, gather_truth, refused, text_facts
from imgframe.filters.reference_pattern import compile_reference

_FALSE, _TRUE, _UNKNOWN, _REFUSED = 0, 1, 2, 3
_GONE = ":"
"""Name of the record that ``nerdctl rmi -f`` leaves of a running image; never matched and never parsed."""


class Names:
    """A set of unique names, parsed once for all filters."""

    __slots__ = ("bare", "broken", "dangling", "errors", "gone", "table")

    def __init__(self, words: pd.Index) -> None:
        self.table: pa.Table = reference.parse_names(columns.strings(words, "name"))
        self.errors = self.table["error"]
        self.broken = np.asarray(pc.is_valid(self.errors))
        self.bare = np.asarray(pc.fill_null(self.table["bare"], False))
        self.gone = np.asarray(pc.equal(self.table["name"], _GONE))
        self.dangling = self.broken | np.asarray(pc.equal(pc.fill_null(self.table["tag"], ""), ""))


names: columns.PerWords[Names] = columns.PerWords(Names)
"""The parsed names of a set of categories."""


class _ByPatterns(Filter):
    __slots__ = ("patterns",)

    def __init__(self, given: Sequence[str]) -> None:
        self.patterns = tuple(given)


class _ByReference(_ByPatterns):
    """Names that match every pattern."""

    __slots__ = ()

    def truth(self, view: View) -> Truth:
        found = columns.text(view.images, "name", "filter_by_reference")
        own = names(found.words)
        table, refusal = self._decide(own)
        if refusal is None:
            return gather_truth(table[:-1], found.codes)
        answers = columns.gather(table, found.codes)
        refusing = answers == _REFUSED
        there = refusing if view.matters is None else refusing & view.matters
        if there.any():
            place = int(found.codes[int(np.argmax(there))])
            raise refused(refusal.of(place), f"image {found.words[place]!r}, {self}")
        unknown = refusing | (answers == _UNKNOWN)
        return Truth(answers == _TRUE, unknown if unknown.any() else None)

    def _decide(self, own: Names) -> tuple[Any, _Refusal | None]:
        """Per unique name the result (the last is for a missing name), and what is refused and why."""
        refusal = _Refusal(own)
        yes = ~own.gone
        for each in self.patterns:
            compiled = compile_reference(each)
            refusal.add(compiled.glob_error, compiled.regex_error)
            if refusal.bare is None or refusal.named is None:
                yes &= compiled.matches(own.table)
        table = np.append(yes.astype(np.uint8), np.uint8(_UNKNOWN))
        refusing = refusal.places()
        table[:-1][refusing] = _REFUSED
        return table, refusal if refusing.any() else None

    def facts(self, view: View) -> Any:
        found = columns.text(view.images, "name", "filter_by_reference")
        own = names(found.words)
        table, refusal = self._decide(own)
        compiled = map(compile_reference, self.patterns)
        ways = [(each.glob(own.table), each.regex(own.table)) for each in compiled]
        words = [
            refusal.of(place)
            if refusal is not None and table[place] == _REFUSED
            else self._fact(place, own, ways)
            for place in range(len(own.broken))
        ]
        return text_facts([*words, "the name is missing"], found.codes)

    def _fact(self, place: int, own: Names, ways: list[tuple[Any, Any]]) -> str:
        if own.gone[place]:
            return "the name ':' is never matched"
        facts = []
        for pattern, (glob, regex) in zip(self.patterns, ways, strict=True):
            if glob[place]:
                facts.append(f"{pattern!r} matches {own.table['familiar_string'][place]} as a glob")
            elif regex[place]:
                facts.append(f"{pattern!r} matches {own.table['name'][place]} as a regular expression")
            else:
                return f"{pattern!r} does not match"
        return " and ".join(facts) or "there is no pattern"

    def __str__(self) -> str:
        return ",".join(f"reference={each}" for each in self.patterns) or "no reference"


class _Refusal:
    """Which unique names raise an error for the whole filter, and which: per name the first."""

    def __init__(self, own: Names) -> None:
        self.own = own
        self.named: str | None = None  # error of the patterns for names on which globs are tried
        self.bare: str | None = None  # for bare digests and CIDs, on which they are not

    def add(self, glob_error: str | None, regex_error: str | None) -> None:
        self.named = self.named or glob_error or regex_error
        self.bare = self.bare or regex_error

    def places(self) -> Any:
        refusing = self.own.broken.copy()
        if self.named:
            refusing |= ~self.own.bare
        if self.bare:
            refusing |= self.own.bare
        return refusing & ~self.own.gone

    def of(self, place: int) -> str:
        if self.own.broken[place]:
            return str(self.own.errors[place].as_py())
        return (self.bare if self.own.bare[place] else self.named) or ""


class _Tagged(Filter):
    """Names with a tag, or without one."""

    __slots__ = ("wanted",)

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted

    def truth(self, view: View) -> Truth:
        found = columns.text(view.images, "name", f"filter_{self}_images")
        yes = names(found.words).dangling != self.wanted
        return gather_truth(yes, found.codes)

    def facts(self, view: View) -> Any:
        found = columns.text(view.images, "name", f"filter_{self}_images")
        own = names(found.words)
        tags = own.table["tag"].to_pylist()
        words = [
            "the name does not parse" if broken else f"the tag is {tag}" if tag else "the name has no tag"
            for tag, broken in zip(tags, own.broken.tolist(), strict=True)
        ]
        return text_facts([*words, "the name is missing"], found.codes)

    def __str__(self) -> str:
        return "tagged" if self.wanted else "dangling"


class _ByGlob(_ByPatterns):
    """Names that match any of the globs, as docker filters: names that do not parse do not match."""

    __slots__ = ()

    def truth(self, view: View) -> Truth:
        found = columns.text(view.images, "name", "reference")
        table = names(found.words).table
        yes = np.zeros(len(found.words), dtype=bool)
        for each in self.patterns:
            compiled = compile_reference(each)
            if compiled.glob_error:
                raise refused(compiled.glob_error, f"reference={each}")
            yes |= compiled.glob(table)
        return gather_truth(yes, found.codes)

    def facts(self, view: View) -> Any:
        found = columns.text(view.images, "name", "reference")
        table = names(found.words).table
        matches = [compile_reference(each).glob(table) for each in self.patterns]
        words = []
        for place, familiar in enumerate(table["familiar_string"].to_pylist()):
            hit = next((p for p, match in zip(self.patterns, matches, strict=True) if match[place]), None)
            words.append("no glob matches" if hit is None else f"{hit!r} matches {familiar} as a glob")
        return text_facts([*words, "the name is missing"], found.codes)

    def __str__(self) -> str:
        return " or ".join(f"reference={each}" for each in self.patterns)


def pattern_problems(pattern: str) -> list[str]:
    """Nerdctl's objections to a reference pattern, which must be both a glob and a regular expression."""
    compiled = compile_reference(pattern)
    return [
        f"not valid as a {kind}, so the whole command fails: {error}"
        for kind, error in (("glob", compiled.glob_error), ("regular expression", compiled.regex_error))
        if error
    ]


def filter_by_reference(patterns: Sequence[str] | str) -> Filter:
    r"""Images whose name matches every pattern (nerdctl's FilterByReference).

    A pattern matches as a glob (Go's path.Match: ``*`` and ``?`` stop at ``/``) on the familiar name with or without tag
    and digest (``alpine:3.20``, ``alpine``), or as an RE2 regular expression anywhere in the stored name
    (``docker.io/library/alpine:3.20``). It must be valid as both: ``*:latest`` is a glob but not a regular expression,
    so it is refused. A record called ``:`` never matches.

    Raises (when applied, for the first row concerned):
        FilterError: the name of the row does not parse, or a pattern is not valid; with Go's message.
        InputError: a pattern is not text.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> images = pd.DataFrame({"name": ["docker.io/library/alpine:3.20", "ghcr.io/org/api:1"]})
        >>> imf.filter_by_reference(["alpine:3.*"])(images).tolist(), imf.filter_by_reference([r"^ghcr\.io/"])(images).tolist()
        ([True, False], [False, True])
    """
    return _ByReference(_texts(patterns))


def filter_dangling_images() -> Filter:
    """Images whose name has no tag (nerdctl's FilterDanglingImages).

    ``repo`` counts as ``repo:latest``. Dangling are ``repo@sha256:…``, bare digests, CIDs and names that do not parse.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> imf.filter_dangling_images()(pd.DataFrame({"name": ["alpine", "sha256:" + "0" * 64]})).tolist()
        [False, True]
    """
    return _Tagged(wanted=False)


def filter_tagged_images() -> Filter:
    """Images whose name has a tag (nerdctl's FilterTaggedImages): those that :func:`filter_dangling_images` drops.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> imf.filter_tagged_images()(pd.DataFrame({"name": ["alpine", "sha256:" + "0" * 64]})).tolist()
        [True, False]
    """
    return _Tagged(wanted=True)


def _texts(patterns: Sequence[str] | str) -> tuple[str, ...]:
    given = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    for each in given:
        if not isinstance(each, str):
            raise InputError(f"{each!r} is not a reference pattern; expected text")
    return given
