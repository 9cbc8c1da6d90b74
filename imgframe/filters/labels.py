"""Filter by the labels of the image's config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from imgframe.errors import InputError
from imgframe.filters import columns
from imgframe.filters.filter import Filter, Truth, View, gather_truth, text_facts


class _ByLabel(Filter):
    """All ``pairs`` are present; the value None matches any value."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str | None]]) -> None:
        self.pairs = tuple(pairs)

    def truth(self, view: View) -> Truth:
        found = columns.labels(view.images, "labels", "filter_by_label")
        yes = np.ones(len(found.maps), dtype=bool)
        for key, value in self.pairs:
            if value is None:
                yes &= np.fromiter((key in own for own in found.maps), bool, len(yes))
            else:
                yes &= np.fromiter((own.get(key) == value for own in found.maps), bool, len(yes))
        return gather_truth(yes, found.codes)

    def facts(self, view: View) -> Any:
        found = columns.labels(view.images, "labels", "filter_by_label")
        return text_facts([*map(self._fact, found.maps), "the config is not readable"], found.codes)

    def _fact(self, own: Mapping[str, str]) -> str:
        for key, value in self.pairs:
            if key not in own or value not in (None, own[key]):
                return f"{key} is {own[key]!r}" if key in own else f"no label {key}"
        return ", ".join(f"{key} is {own[key]!r}" for key, _ in self.pairs) or "the config is readable"

    def __str__(self) -> str:
        parts = (f"label={key}" if value is None else f"label={key}={value}" for key, value in self.pairs)
        return ",".join(parts) or "readable config"


def filter_by_label(labels: Mapping[str, str]) -> Filter:
    """Images whose config has all these labels (nerdctl's FilterByLabel).

    Every key must be present with an equal value; the value ``""`` matches any value, so an empty value cannot be required.
    The labels are those of the config that the node's platform resolves to (column ``labels``), never those of the record
    (``record_labels``). An unreadable config is unknown: not kept, and not kept by the negation either. Even the empty
    mapping keeps only images with a readable config.

    Raises:
        InputError: a key or value is not text.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> images = pd.DataFrame({"labels": ['{"team":"web","keep":""}', "{}", None]})
        >>> imf.filter_by_label({"team": "web"})(images).tolist()
        [True, False, <NA>]
        >>> (~imf.filter_by_label({"keep": ""}))(images).tolist()
        [False, True, <NA>]
    """
    if not isinstance(labels, Mapping):
        raise InputError(f"{labels!r} is not a mapping; expected labels such as {{'team': 'web'}}")
    for key, value in labels.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InputError(f"label {key!r}: {value!r} is not text; expected a text key and a text value")
    return _ByLabel((key, value or None) for key, value in labels.items())
