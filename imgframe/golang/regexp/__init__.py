"""regexp: Go's regular expressions over columns of unique texts.

pyarrow includes RE2, the engine of Go's regexp. Which patterns are valid, the errors of invalid ones, and differences
between the Unicode tables are decided here; see :mod:`imgframe.golang.regexp.syntax`.
"""

from imgframe.golang.regexp.regexes import GoRegexp, compile_regexp
from imgframe.golang.regexp.syntax import quote_meta

__all__ = ["GoRegexp", "compile_regexp", "quote_meta"]
