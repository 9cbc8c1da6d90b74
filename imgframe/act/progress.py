"""Progress: a bar for deleted records, one for all bytes that move, one for each image in flight; only for an interactive user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from imgframe._terminal import is_interactive

SHOWN = 12
"""Images that have a bar of their own at a time."""


BlobProgress = Callable[[str, int, int], None]
"""Called with the digest of a blob, the bytes of it that are there, and its size."""


class ApplyBars:
    """Bars drawn by tqdm when ``show`` is True, or is None and a terminal or a notebook is there."""

    def __init__(self, show: bool | None, images: int, deletes: int) -> None:
        self._shown = is_interactive() if show is None else show
        self._whole: Any = self._bar(f"{images} images", 0) if self._shown and images else None
        self._deletes: Any = self._count(deletes) if self._shown and deletes else None
        self._open = 0

    @staticmethod
    def _count(deletes: int) -> Any:
        from tqdm.auto import tqdm

        return tqdm(total=deletes, desc="deleting", unit="record")

    def delete(self, records: int) -> None:
        """Records are deleted, or turned out not to be."""
        if self._deletes is not None:
            self._deletes.update(records)

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

    def image(self, name: str) -> ImageBar:
        """The bar of an image; it is closed by ``with``."""
        own = None
        if self._whole is not None and self._open < SHOWN:
            self._open += 1
            own = self._bar(name[-40:], self._open)
        return ImageBar(self, own)

    def add(self, size: int, done: int) -> None:
        """More bytes to come, and more that are done."""
        if self._whole is not None:
            self._whole.total += size
            self._whole.update(done)

    def release(self) -> None:
        """Free the place of an image's bar."""
        self._open -= 1

    def close(self) -> None:
        """Remove the bars."""
        for bar in (self._whole, self._deletes):
            if bar is not None:
                bar.close()


class ImageBar:
    """The bytes of one image."""

    def __init__(self, bars: ApplyBars, own: Any) -> None:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            self._own.close()
            self._bars.release()
