"""``DataFrame.img``: methods on a frame of images, each one a line that calls ``imgframe.filters``, loaded on first use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import imgframe as imf
from imgframe.errors import MissingColumn

if TYPE_CHECKING:
    import pandas as pd


def register(pandas: Any) -> None:
    """Give every DataFrame the accessor ``img``; called once, when pandas has been imported."""
    if not hasattr(pandas.DataFrame, "img"):
        pandas.api.extensions.register_dataframe_accessor("img")(ImageAccessor)


class ImageAccessor:
    """Queries on a frame of images: filters give the rows for which they are true, in the order of the frame.

    Raises:
        MissingColumn: the frame lacks a column that the method reads; the message names it.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> images = pd.DataFrame({"name": ["docker.io/library/alpine:3.20", "docker.io/library/nginx:1"]})
        >>> images.img.reference("alpine:3.*")["name"].tolist()
        ['docker.io/library/alpine:3.20']
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def _with(self, method: str, *columns: str) -> pd.DataFrame:
        for column in columns:
            if column not in self._frame.columns:
                raise MissingColumn(column, f"DataFrame.img.{method}", self._frame.columns)
        return self._frame

    def reference(self, patterns: str | Sequence[str]) -> pd.DataFrame:
        """Images whose name matches every pattern, as a glob or as a regular expression (``filter_by_reference``)."""
        return self._with("reference", "name")[imf.filter_by_reference(patterns)]

    def label(self, labels: Mapping[str, str] | str, value: str = "") -> pd.DataFrame:
        """Images whose config has these labels, or one label with this value, ``""`` for any (``filter_by_label``)."""
        wanted = {labels: value} if isinstance(labels, str) else labels
        return self._with("label", "labels")[imf.filter_by_label(wanted)]

    def until(self, until: str, *, now: Any = None) -> pd.DataFrame:
        """Images whose record was created before a moment (``filter_until``)."""
        return self._with("until", "created_at")[imf.filter_until(until, now=now)]

    def before(self, names: str | Sequence[str], *, store: Any = None) -> pd.DataFrame:
        """Images created before the latest of these (``filter_by_created_at``)."""
        return self._with("before", "name", "created_at")[imf.filter_by_created_at(names, store=store)]

    def since(self, names: str | Sequence[str], *, store: Any = None) -> pd.DataFrame:
        """Images created after the earliest of these (``filter_by_created_at``)."""
        return self._with("since", "name", "created_at")[imf.filter_by_created_at(since=names, store=store)]

    def dangling(self) -> pd.DataFrame:
        """Images whose name has no tag (``filter_dangling_images``)."""
        return self._with("dangling", "name")[imf.filter_dangling_images()]

    def tagged(self) -> pd.DataFrame:
        """Images whose name has a tag (``filter_tagged_images``)."""
        return self._with("tagged", "name")[imf.filter_tagged_images()]

    def label_values(self, key: str) -> pd.Series:
        """One config label as a column (``imgframe.filters.tags.label_values``)."""
        from imgframe.filters import tags

        return tags.label_values(self._with("label_values", "labels"), key)

    def labels(self) -> pd.DataFrame:
        """All config labels, one row per image and label (``imgframe.filters.tags.label_table``)."""
        from imgframe.filters import tags

        return tags.label_table(self._with("labels", "labels"))

    def keep_last(self, n: int, by: str | Sequence[str] = "repository") -> pd.DataFrame:
        """The n newest of each repository of each store (``imgframe.filters.tags.keep_last``)."""
        from imgframe.filters import tags

        keys = [by] if isinstance(by, str) else list(by)
        return tags.keep_last(self._with("keep_last", "created_at", *keys), n, keys)

    def semver(self) -> pd.DataFrame:
        """Major, minor, patch and pre-release of the tags (``imgframe.filters.tags.semver``)."""
        from imgframe.filters import tags

        return tags.semver(self._with("semver", "tag"))
