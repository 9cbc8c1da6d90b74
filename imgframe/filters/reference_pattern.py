"""One pattern of the reference filter: a glob on the familiar name or a regular expression on the raw one."""

from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe.errors import FilterError
from imgframe.golang.path import Glob, GlobSyntaxError, parse_glob
from imgframe.golang.regexp import evaluation
from imgframe.golang.regexp.regexes import GoRegexp, compile_regexp

_SIMPLE_STEP = 512  # names that the step-by-step matcher handles between two checks of the clock


class ReferencePattern:
    """A pattern, valid or not, as nerdctl's reference filter uses it (Go: ``imgutil.FilterByReference``).

    Tables are those of :func:`imgframe.reference.parse_names`; masks have one boolean per row. For each
    image Go's filter reports a name that does not parse, then per pattern the error of the glob, unless the name is a bare
    digest or a CID, then that of the regular expression. The glob is not tried on names that do not parse.

    Example:
        >>> from imgframe import reference
        >>> from imgframe.filters.reference_pattern import compile_reference
        >>> pattern = compile_reference("*alpine*")
        >>> pattern.glob_error, pattern.regex_error
        (None, 'error parsing regexp: missing argument to repetition operator: `*`')
        >>> pattern.glob(reference.parse_names(["alpine", "busybox"])).tolist()
        [True, False]
    """

    __slots__ = ("_glob", "_regex", "glob_error", "regex_error", "text")

    def __init__(self, text: str) -> None:
        self.text: str = text
        self.glob_error: str | None = None
        """Go's message if the glob is invalid; raised only where the glob is tried, so not on digests and CIDs."""
        self.regex_error: str | None = None
        """Go's message if the regular expression is invalid; raised on every name."""
        self._glob: Glob | None = None
        self._regex: GoRegexp | None = None
        try:
            self._regex = compile_regexp(text)
        except FilterError as error:
            if not error.go:
                raise
            self.regex_error = error.go
        try:
            self._glob = parse_glob(text)
        except GlobSyntaxError as error:
            self.glob_error = str(error)

    def glob(self, names: pa.Table) -> np.ndarray:
        """Where the glob matches the familiar string or the familiar name; nowhere if the glob is invalid.

        Raises :class:`~imgframe.errors.FilterError` if that would take too long.
        """
        found = np.zeros(names.num_rows, bool)
        if self._glob is None or not names.num_rows:
            return found
        for column in ("familiar_string", "familiar"):
            found |= self._glob_on(self._glob, names[column].combine_chunks())
        skipped = pc.or_(names["bare"], pc.is_valid(names["error"]))
        return found & ~np.asarray(pc.fill_null(skipped, fill_value=True))

    def _glob_on(self, glob: Glob, texts: pa.Array) -> np.ndarray:
        ascii_only = pc.all(pc.string_is_ascii(texts), skip_nulls=True).as_py()
        found = np.ones(len(texts), bool)
        if ascii_only is not False:
            found = evaluation.search(texts, glob.regex, len(glob.regex), self.text)
            if glob.exact:
                return found
        candidates = np.flatnonzero(found)
        found = np.zeros(len(texts), bool)
        texts = texts.take(pa.array(candidates))
        lengths = np.asarray(pc.fill_null(pc.binary_length(texts), 0))
        clock = evaluation.Clock(self.text, int(lengths.sum()))
        for at in range(0, len(candidates), _SIMPLE_STEP):
            words = texts.slice(at, _SIMPLE_STEP).to_pylist()
            found[candidates[at : at + _SIMPLE_STEP]] = [
                word is not None and glob.match(word) for word in words
            ]
            clock.check(int(lengths[at : at + _SIMPLE_STEP].sum()))
        return found

    def regex(self, names: pa.Table) -> np.ndarray:
        """Where the regular expression is found in the raw name; nowhere if it is invalid.

        Raises :class:`~imgframe.errors.FilterError` if it is too large or would take too long.
        """
        if self._regex is None:
            return np.zeros(names.num_rows, bool)
        return self._regex.search(names["name"])

    def matches(self, names: pa.Table) -> np.ndarray:
        """Where the glob or the regular expression matches; an invalid one matches nowhere.

        Raises :class:`~imgframe.errors.FilterError` as :meth:`glob` and :meth:`regex` do.
        """
        return self.glob(names) | self.regex(names)


@functools.lru_cache(maxsize=256)
def compile_reference(pattern: str) -> ReferencePattern:
    """The pattern of a reference filter; an invalid one has its errors as attributes, since only some names raise them.

    Raises :class:`~imgframe.errors.FilterError` if it is longer than 65,536 characters.

    Example:
        >>> from imgframe.filters.reference_pattern import compile_reference
        >>> pattern = compile_reference("[-a]")
        >>> pattern.glob_error, pattern.regex_error
        ('syntax error in pattern', None)
    """
    return ReferencePattern(pattern)
