"""Keeps pyarrow from importing pandas before somebody wants a frame.

pyarrow looks for pandas at its first array, which costs 0.7 to 1.4 s, ten times what a small collection takes. Here it
looks once while pandas cannot be found, and looks again as soon as pandas is imported by anyone.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import pyarrow as pa
import wrapt


class _NotNow:
    """A finder that does not find pandas, in one thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse pandas; leave all else to the finders that follow."""
        del path, target
        if name == "pandas" and threading.get_ident() == self._thread:
            raise ModuleNotFoundError("pandas is not imported before it is needed", name=name)


def postpone() -> bool:
    """Let pyarrow work without pandas until pandas is imported; False where there is nothing to postpone.

    Example:
        >>> import pandas
        >>> from imgframe._pandas_later import postpone
        >>> postpone()
        False
    """
    shim = getattr(pa.lib, "_pandas_api", None)
    if shim is None or "pandas" in sys.modules:
        return False
    refusal = _NotNow()
    sys.meta_path.insert(0, refusal)
    try:
        pa.scalar(0)
        pa.array([0])
    finally:
        sys.meta_path.remove(refusal)
    wrapt.register_post_import_hook(lambda _: shim.__init__(), "pandas")
    return True
