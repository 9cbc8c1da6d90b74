"""Patterns on image names: Go's globs (``path.Match``) and Go's regular expressions, over columns of unique names.

RE2, which is Go's regexp, comes with pyarrow. What is a pattern, which error a bad one gives, and where the tables of
Unicode differ is decided here; see :mod:`imgframe.patterns.syntax`.

Example:
    >>> from imgframe import patterns, reference
    >>> names = reference.parse_names(["docker.io/library/alpine:3.20", "quay.io/team/api:1"])
    >>> patterns.compile_reference("alpine:*").matches(names).tolist()
    [True, False]
"""

from imgframe.patterns.globs import Glob, parse_glob
from imgframe.patterns.reference_pattern import ReferencePattern, compile_reference
from imgframe.patterns.regexes import GoRegexp, compile_regexp

__all__ = [
    "Glob",
    "GoRegexp",
    "ReferencePattern",
    "compile_reference",
    "compile_regexp",
    "parse_glob",
]
