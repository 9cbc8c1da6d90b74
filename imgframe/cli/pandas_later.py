"""Keeps pyarrow from importing pandas before somebody wants a frame, in a process of our own.

pyarrow looks for pandas at its first array, which costs 0.5 to 1.4 s: more than a small collection takes. While a command of
``imgframe`` reads its inventory, pyarrow is made to look where pandas cannot be found; afterwards, or as soon as pandas is
imported by anyone, it looks again. While pandas is away, pyarrow cannot turn nanosecond times into Python objects
(``as_py``, ``to_pylist``): cast them to int64 or to microseconds.

This is for the command line alone: the compiled half of pyarrow looks only once, and never again takes ``pandas.NA`` or
``pandas.NaT`` among Python objects for what they are. No program of a user may come to feel that.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from imgframe._after_pandas import after_pandas

_lock = threading.Lock()
_users = 0
_away = False


class _NotNow:
    """A finder that does not find pandas, in one thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse pandas; leave all else to the finders that follow."""
        del path, target
        if name == "pandas" and threading.get_ident() == self._thread:
            raise ModuleNotFoundError("pandas is not imported before it is needed", name=name)


@contextmanager
def postponed() -> Iterator[None]:
    """Within it pyarrow works without pandas, unless pandas was imported already or is meanwhile.

    Example:
        >>> import pyarrow as pa
        >>> from imgframe.cli.pandas_later import postponed
        >>> with postponed():
        ...     len(pa.array([1, 2]))
        2
    """
    global _users  # noqa: PLW0603 -- pyarrow is one per process
    with _lock:
        _users += 1
        if _users == 1:
            _look_in_vain()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _look_again()


def _look_in_vain() -> None:
    global _away  # noqa: PLW0603 -- as above
    if "pandas" in sys.modules or not hasattr(pa.lib, "_pandas_api"):
        return
    refusal = _NotNow()
    sys.meta_path.insert(0, refusal)
    try:
        pa.scalar(0)
        pa.array([0])
        _away = True
    finally:
        sys.meta_path.remove(refusal)


def _look_again(_: object = None) -> None:
    global _away  # noqa: PLW0603 -- as above
    if _away:
        _away = False
        pa.lib._pandas_api.__init__()  # noqa: SLF001 -- the only way to make it look again


after_pandas(_look_again)
