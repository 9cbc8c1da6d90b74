"""Progress of what travels: one bar for all bytes, one for each image on its way. Silent unless somebody looks."""

from __future__ import annotations

from typing import Any

from imgframe._terminal import is_interactive

SHOWN = 12
"""Images that have a bar of their own at a time."""


class Bars:
    """Bars drawn by tqdm when ``show`` is True, or is None and a terminal or a notebook is there."""

    def __init__(self, show: bool | None, images: int) -> None:
        self._shown = is_interactive() if show is None else show
        self._whole: Any = self._bar(f"{images} images", 0) if self._shown and images else None
        self._open = 0

    def _bar(self, text: str, position: int) -> Any:
        from tqdm.auto import tqdm

        return tqdm(
            total=0,
            desc=text,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            leave=position == 0,
            position=position,
        )

    def image(self, name: str) -> Bar:
        """The bar of an image; :meth:`Bar.close` takes it away."""
        own = None
        if self._whole is not None and self._open < SHOWN:
            self._open += 1
            own = self._bar(name[-40:], self._open)
        return Bar(self, own)

    def add(self, size: int, done: int) -> None:
        """More bytes to come, and more that are done."""
        if self._whole is not None:
            self._whole.total += size
            self._whole.update(done)

    def closed(self) -> None:
        """A bar of an image is gone."""
        self._open -= 1

    def close(self) -> None:
        """Take the bars away."""
        if self._whole is not None:
            self._whole.close()


class Bar:
    """The bytes of one image."""

    def __init__(self, bars: Bars, own: Any) -> None:
        self._bars, self._own = bars, own
        self._done: dict[str, int] = {}

    def __call__(self, blob: str, done: int, size: int) -> None:
        """``done`` of ``size`` bytes of a blob are there."""
        before = self._done.get(blob)
        self._done[blob] = done
        grown, more = 0 if before is not None else size, done - (before or 0)
        self._bars.add(grown, more)
        if self._own is not None:
            self._own.total += grown
            self._own.update(more)

    def close(self) -> None:
        """Take it away."""
        if self._own is not None:
            self._own.close()
            self._bars.closed()
