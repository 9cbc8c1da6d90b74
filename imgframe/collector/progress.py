"""Progress bars: nodes, documents and usages of a collection, folders of a measurement."""

from __future__ import annotations

from typing import Any

from imgframe._terminal import is_interactive

_UNITS = {"nodes": "node", "documents": "document", "usages": "usage", "folders": "folder"}


class ProgressBars:
    """Bars drawn by tqdm if ``show`` is True, or None on a terminal or in a notebook."""

    def __init__(self, show: bool | None) -> None:
        self._bars: dict[str, Any] = {}
        self._shown = is_interactive() if show is None else show

    def expect(self, what: str, count: int) -> None:
        """Adds ``count`` to the total of ``what``."""
        if not self._shown or not count:
            return
        if what not in self._bars:
            from tqdm.auto import tqdm

            self._bars[what] = tqdm(total=0, desc=what, unit=f" {_UNITS[what]}", leave=False)
        bar = self._bars[what]
        bar.total += count
        bar.refresh()

    def done(self, what: str, count: int = 1) -> None:
        """Adds ``count`` to those done."""
        if what in self._bars:
            self._bars[what].update(count)

    def close(self) -> None:
        """Removes the bars."""
        for bar in self._bars.values():
            bar.close()
        self._bars = {}
