"""Labels and tags of a frame of images as columns: one label, all labels, the newest of each repository, semver."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from imgframe.errors import InputError
from imgframe.filters import columns

_SEMVER = re.compile(
    r"v?(?P<major>0|[1-9][0-9]*)\.(?P<minor>0|[1-9][0-9]*)\.(?P<patch>0|[1-9][0-9]*)"
    r"(?:-(?P<prerelease>(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
    r"(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?"
)


def label_values(images: pd.DataFrame, key: str) -> pd.Series:
    """The value of one config label per row, as a category on the frame's index; NA: no such label, or the config is unknown.

    Raises:
        MissingColumn: the frame has no column ``labels``.

    Example:
        >>> import pandas as pd
        >>> from imgframe.filters import tags
        >>> tags.label_values(pd.DataFrame({"labels": ['{"team":"web"}', "{}"]}), "team").tolist()
        ['web', nan]
    """
    found = columns.labels(images, "labels", "label_values")
    values = [own.get(key) for own in found.maps]
    words = sorted({value for value in values if value is not None})
    place = {word: code for code, word in enumerate(words)}
    table = np.array([*(-1 if value is None else place[value] for value in values), -1], dtype=np.int32)
    dtype = pd.CategoricalDtype(pd.Index(words, dtype="str"))
    codes = columns.gather(table, found.codes)
    return pd.Series(pd.Categorical.from_codes(codes, dtype=dtype), index=images.index, name=key, copy=False)


def label_table(images: pd.DataFrame) -> pd.DataFrame:
    """All config labels, one row per image and label.

    Columns: ``node``, ``namespace``, ``name`` (as far as the frame has them), ``key``, ``value``; the index is that of the
    image's row, keys are in the order of the label text.

    Raises:
        MissingColumn: the frame has no column ``labels``.

    Example:
        >>> import pandas as pd
        >>> from imgframe.filters import tags
        >>> images = pd.DataFrame({"name": ["a", "b"], "labels": ['{"k":"1","l":"2"}', None]})
        >>> tags.label_table(images).values.tolist()
        [['a', 'k', '1'], ['a', 'l', '2']]
    """
    found = columns.labels(images, "labels", "labels")
    pairs = [list(own.items()) for own in found.maps]
    counts = np.array([*map(len, pairs), 0])
    starts = np.concatenate([[0], np.cumsum(counts)])
    codes = np.where(found.codes < 0, len(pairs), found.codes)
    repeat = counts[codes]
    rows = np.repeat(np.arange(len(codes)), repeat)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(repeat) - repeat, repeat)
    place = starts[codes[rows]] + within
    out = images[[name for name in ("node", "namespace", "name") if name in images.columns]].iloc[rows].copy()
    for position, name in enumerate(("key", "value")):
        out[name] = pd.Categorical([pair[position] for own in pairs for pair in own]).take(place)
    return out


def keep_last(images: pd.DataFrame, n: int, by: str | Sequence[str] = "repository") -> pd.DataFrame:
    """The ``n`` newest images of each ``by`` in each store (node, namespace), by ``created_at``; order and index kept.

    Rows without a time or without a value in ``by`` are kept in addition. Equal times rank in the order of the frame.

    Raises:
        MissingColumn: the frame lacks ``created_at`` or ``by``.
        InputError: ``n`` is negative.

    Example:
        >>> import pandas as pd
        >>> from imgframe.filters import tags
        >>> images = pd.DataFrame({
        ...     "repository": ["a", "a", "a", "b"],
        ...     "created_at": pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-01", "2020-01-01"], utc=True),
        ... })
        >>> tags.keep_last(images, 2).index.tolist()
        [0, 1, 3]
    """
    if n < 0:
        raise InputError(f"{n} images cannot be kept; expected 0 or more")
    ticks = columns.times(images, "created_at", "keep_last").ticks
    keys = [name for name in ("node", "namespace") if name in images.columns]
    keys += [name for name in ([by] if isinstance(by, str) else by) if name not in keys]
    group = np.zeros(len(images), dtype="int64")
    unknown = ticks == columns.MISSING_TIME
    for name in keys:
        codes, uniques = pd.factorize(columns.column(images, name, "keep_last").array, use_na_sentinel=True)
        unknown |= codes < 0
        group = pd.factorize(group * (len(uniques) + 1) + codes + 1)[0]
    rows = np.flatnonzero(~unknown)
    order = rows[np.lexsort((~ticks[rows], group[rows]))]
    rank = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    kept = unknown
    kept[order[rank < n]] = True
    return images[kept]


def semver(images: pd.DataFrame) -> pd.DataFrame:
    """``major``, ``minor``, ``patch`` (Int64) and ``prerelease`` of the tags, on the frame's index; NA where a tag is none.

    A semantic version as semver.org defines it, with or without a ``v`` in front: ``1.2.3``, ``v1.2.3-rc.1``; neither
    ``1.2`` nor ``01.2.3``. Without a pre-release ``prerelease`` is empty.

    Raises:
        MissingColumn: the frame has no column ``tag``.

    Example:
        >>> import pandas as pd
        >>> from imgframe.filters import tags
        >>> tags.semver(pd.DataFrame({"tag": ["v1.2.3-rc.1", "latest"]}))["minor"].tolist()
        [2, <NA>]
    """
    found = columns.text(images, "tag", "semver")
    parsed = [_version(word) for word in found.words] + [None]
    out = {}
    codes = np.where(found.codes < 0, len(parsed) - 1, found.codes)
    for position, name in enumerate(("major", "minor", "patch")):
        values = pd.array([None if each is None else each[position] for each in parsed], dtype="Int64")
        out[name] = values.take(codes)
    texts = pd.Categorical([None if each is None else each[3] for each in parsed])
    out["prerelease"] = texts.take(codes)
    return pd.DataFrame(out, index=images.index)


def _version(tag: Any) -> tuple[int, int, int, str] | None:
    found = _SEMVER.fullmatch(tag) if isinstance(tag, str) else None
    if found is None:
        return None
    numbers = [found[name] for name in ("major", "minor", "patch")]
    if any(len(number) > 18 for number in numbers):  # beyond Int64
        return None
    return int(numbers[0]), int(numbers[1]), int(numbers[2]), found["prerelease"] or ""
