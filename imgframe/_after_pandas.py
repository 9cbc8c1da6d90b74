"""Calls something once pandas is imported, without importing it.

A library for this exists (wrapt), and importing it costs more than a tenth of what ``imgframe images`` may take.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader  # this alone would cost as much
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_waiting: list[Callable[[Any], object]] = []


def after_pandas(call: Callable[[Any], object]) -> None:
    """Call with the module pandas: at once if it is imported already, else as soon as it is, in the order given.

    Example:
        >>> import pandas
        >>> after_pandas(lambda module: print(module.__name__))
        pandas
    """
    if "pandas" in sys.modules and not _being_imported():
        call(sys.modules["pandas"])
        return
    _waiting.append(call)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _being_imported() -> bool:
    return getattr(getattr(sys.modules["pandas"], "__spec__", None), "_initializing", False)


class _Finder:
    """Finds pandas as the finders after it do, with a loader that tells."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of pandas, whose loading calls what waits; None for all else."""
        if name != "pandas":
            return None
        # only those behind: one of another copy of imgframe (reloaded in a notebook) asks on in the same way
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            if (spec := finder.find_spec(name, path, target)) is not None:
                if spec.loader is not None:
                    spec.loader = cast("Loader", _Loader(spec.loader))  # has what a Loader is asked for
                return spec
        return None


class _Loader:
    """The loader of pandas, which takes its place again before it runs: nobody who asks later meets us."""

    def __init__(self, real: Loader) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the real one does."""
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run pandas, then what waits for it."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        module.__loader__ = self._real
        self._real.exec_module(module)
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
        while _waiting:
            _waiting.pop(0)(module)
