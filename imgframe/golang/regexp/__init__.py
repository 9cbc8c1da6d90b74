"""regexp: Go's regular expressions over columns of unique texts.

RE2, which is Go's regexp, comes with pyarrow. What is a pattern, which error a bad one gives, and where the tables of
Unicode differ is decided here; see :mod:`imgframe.golang.regexp.syntax`.
"""

from imgframe.golang.regexp.regexes import GoRegexp, compile_regexp

__all__ = ["GoRegexp", "compile_regexp"]
