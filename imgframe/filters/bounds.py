"""The images that before and since name, found by name or by containerd's filter expressions (:mod:`imgframe.containerd_filters`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from imgframe import reference
from imgframe.containerd_filters import Selector, holds, is_utf8, parse
from imgframe.errors import InputError, ReferenceError_
from imgframe.filters import columns


class BoundingImage(NamedTuple):
    """One entry of before or since: an expression as Go gets it, or a name (one record name of ``names``)."""

    shown: str
    expression: str | None
    names: tuple[str, ...] = ()


def entries(given: Sequence[str] | str) -> tuple[BoundingImage, ...]:
    """The entries of before or since as the user wrote them.

    Raises:
        InputError: an entry is not text.
    """
    found = []
    for each in (given,) if isinstance(given, str) else given:
        if not isinstance(each, str):
            raise InputError(f"{each!r} is not an image name; expected text")
        # no image name has "="; a lone one is containerd's error about the operator
        if not each or "=" in each:
            found.append(verbatim(each))
        else:
            found.append(BoundingImage(each, None, _spellings(each)))
    return tuple(found)


def verbatim(expression: str) -> BoundingImage:
    """An entry that is a filter expression, even if it looks like a name; shown as Go shows it."""
    return BoundingImage(expression.removeprefix("name=="), expression)


def _spellings(name: str) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys((reference.parse(name).string, name)))
    except ReferenceError_:
        return (name,)


def any_of(given: Iterable[BoundingImage], store: pd.DataFrame) -> Any:
    """The positions of the rows of the store that any of the entries matches, in order.

    Raises:
        FilterError: an expression that containerd refuses; all are read before any is asked.
    """
    names: list[str] = []
    others: list[tuple[Selector, ...]] = []
    for entry in given:
        if entry.expression is None:
            names += entry.names
            continue
        selectors = parse(entry.expression)
        if len(selectors) == 1 and selectors[0][:2] == (("name",), "=="):
            if selectors[0].value and is_utf8(selectors[0].value):  # no other is ever a name
                names.append(selectors[0].value)
        else:
            others.append(selectors)
    found = [_named(store, names)]
    for selectors in others:
        matched = np.ones(len(store), dtype=bool)
        for selector in selectors:
            matched &= _holds(selector, store)
        found.append(np.flatnonzero(matched))
    return found[0] if not others else np.unique(np.concatenate(found))


def _named(store: pd.DataFrame, names: list[str]) -> Any:
    """The positions of the records with one of these names, in order."""
    found = columns.text(store, "name", "filter_by_created_at")
    places = found.words.get_indexer(pd.Index(list(dict.fromkeys(names)), dtype="str")) if names else []
    rows = [np.flatnonzero(found.codes == int(place)) for place in places if place >= 0]
    if len(rows) == 1:
        return rows[0]
    return np.unique(np.concatenate(rows)) if rows else np.zeros(0, dtype="int64")


_FIELDS = {("name",): "name", ("target", "digest"): "digest", ("target", "mediatype"): "media_type"}
_MAPS = {"labels": "record_labels", "annotations": "annotations"}


def _holds(selector: Selector, store: pd.DataFrame) -> Any:
    path = selector.path
    if path[:2] in _FIELDS or path[:1] in _FIELDS:
        name = _FIELDS.get(path[:1]) or _FIELDS[path[:2]]
        found = columns.text(store, name, "filter_by_created_at")
        values = [word or None for word in found.words]
        codes = found.codes
    elif path[0] in _MAPS:
        maps = columns.labels(store, _MAPS[path[0]], "filter_by_created_at")
        key = ".".join(path[1:])
        values = [(each or {}).get(key) for each in maps.maps]
        codes = maps.codes
    else:
        values, codes = [], np.full(len(store), -1)
    return columns.gather(holds(selector, [*values, None]), codes)
