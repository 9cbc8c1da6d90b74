"""Keeps pyarrow from importing pandas in a command that needs no frame.

pyarrow imports pandas for its first array, which takes 0.5 to 1.4 s: longer than reading a small node. From the moment that a
command of ``imgframe`` reads its inventory, pyarrow's look for pandas fails; as soon as anything else imports pandas, it looks
again. Without pandas, pyarrow cannot turn nanosecond times into Python objects (``as_py``, ``to_pylist``): cast them to int64
or microseconds.

This is for the command line only: the compiled part of pyarrow looks once per process, and from then on does not recognise
``pandas.NA`` and ``pandas.NaT`` among Python objects. It also relies on private parts of pyarrow, so it does nothing on
versions later than ``TESTED``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

TESTED = 26
"""The latest major version of pyarrow whose ``lib._pandas_api`` is known to look again when it is initialised again."""


class _PandasFinder:
    """First on ``sys.meta_path`` while pyarrow does without pandas."""

    def __init__(self) -> None:
        self._hidden_from: int | None = threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Hide pandas from pyarrow's look; let pyarrow look again when anything else imports pandas."""
        del path, target
        if name != "pandas":
            return
        if threading.get_ident() == self._hidden_from:
            raise ModuleNotFoundError("pandas is not imported before it is needed", name=name)
        look_again()

    def hide(self) -> None:
        """Have pyarrow look for pandas in vain, in this thread."""
        pa.scalar(0)
        pa.array([0])
        self._hidden_from = None


def postpone() -> bool:
    """From now on pyarrow works without pandas, until something else imports it; whether this changed anything."""
    if _finders() or "pandas" in sys.modules or int(pa.__version__.partition(".")[0]) > TESTED:
        return False
    finder = _PandasFinder()
    sys.meta_path.insert(0, finder)
    finder.hide()
    return True


@contextmanager
def postponed() -> Iterator[None]:
    """Within it pyarrow works without pandas, unless pandas is imported already or meanwhile.

    Example:
        >>> import pyarrow as pa
        >>> from imgframe.cli.pandas_later import postponed
        >>> with postponed():
        ...     len(pa.array([1, 2]))
        2
    """
    changed = postpone()
    try:
        yield
    finally:
        if changed:
            look_again()


def look_again() -> None:
    """Have pyarrow look for pandas the next time that it needs to know."""
    for finder in _finders():
        sys.meta_path.remove(finder)
        pa.lib._pandas_api.__init__()  # noqa: SLF001 -- pyarrow has no public way


def _finders() -> list[Any]:
    return [finder for finder in sys.meta_path if isinstance(finder, _PandasFinder)]
