"""Columns of any images frame as numpy: codes over unique texts, times as integers, stores as numbers.

Whatever the column type (categories, plain strings, objects, Arrow types), a filter decides once per unique text and
gathers the results by codes. Results per set of categories are cached as long as pandas keeps these categories.
"""

from __future__ import annotations

import contextlib
import json
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from imgframe.errors import InputError, MissingColumn
from imgframe.golang import time as gotime

V = TypeVar("V")
CHUNK = 1 << 18
"""Rows per step of a gather: the temporaries stay in the processor's cache."""
_FEW = 20
"""With more unique words per row than this, a frame counts as a small part of a larger one."""
MISSING_TIME = -(2**63)
"""How pandas stores NaT."""
_TICKS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


class PerWords(Generic[V]):
    """A function of a set of unique texts, computed once per pandas Index and forgotten with it."""

    def __init__(self, compute: Callable[[pd.Index], V]) -> None:
        self._compute = compute
        self._kept: dict[int, tuple[weakref.ref[Any], V]] = {}

    def __call__(self, words: pd.Index) -> V:
        """The value of the function for these words."""
        key = id(words)
        kept = self._kept.get(key)
        if kept is not None and kept[0]() is words:
            return kept[1]
        value = self._compute(words)
        self._kept[key] = (weakref.ref(words, lambda _: self._kept.pop(key, None)), value)
        return value


class TextColumn(NamedTuple):
    """A column of text: ``words`` are the unique values, ``codes`` their places per row, -1 where there is none."""

    codes: Any
    words: pd.Index


def column(frame: pd.DataFrame, name: str, needed_by: str) -> Any:
    """The column ``name`` of the frame; raises MissingColumn where there is none."""
    if name not in frame.columns:
        raise MissingColumn(name, needed_by, frame.columns)
    return frame[name]


def text(frame: pd.DataFrame, name: str, needed_by: str) -> TextColumn:
    """The column ``name`` as codes over unique texts."""
    values = column(frame, name, needed_by).array
    if not isinstance(values, pd.Categorical):
        if isinstance(values.dtype, pd.ArrowDtype) and pa.types.is_dictionary(values.dtype.pyarrow_dtype):
            values = values.astype("object")
        codes, words = pd.factorize(values, use_na_sentinel=True)
        return TextColumn(codes, pd.Index(words))
    return _compact(values.codes, values.categories)


def _compact(codes: Any, words: pd.Index) -> TextColumn:
    """A few rows with many categories keep only the words that they use."""
    if len(words) <= _FEW * (len(codes) + 1):
        return TextColumn(codes, words)
    used, places = np.unique(codes, return_inverse=True)
    if len(used) and used[0] < 0:
        used, places = used[1:], places - 1
    parts = _parts(words)
    key = used.tobytes()
    if key not in parts:  # the same words for the same small frame, so that cached results are found
        parts.clear()
        parts[key] = words.take(used)
    return TextColumn(places, parts[key])


_parts: PerWords[dict[bytes, pd.Index]] = PerWords(lambda _: {})


def strings(words: pd.Index, name: str) -> pa.Array:
    """Unique texts as an Arrow array.

    Raises:
        InputError: a value of the column ``name`` is not text.
    """
    try:
        return pa.array(words.array, pa.string(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        odd = next((word for word in words if not isinstance(word, str)), words[0])
        raise InputError(f"column {name!r} holds {odd!r}; expected text") from None


def gather(table: Any, codes: Any) -> Any:
    """``table[code]`` per row; the table's last entry stands for the code -1."""
    out = np.empty(len(codes), dtype=table.dtype)
    for start in range(0, len(codes), CHUNK):
        part = slice(start, start + CHUNK)
        np.take(table, codes[part], out=out[part], mode="wrap")
    return out


class Times(NamedTuple):
    """A column of times as ticks since 1970 of ``tick`` nanoseconds; MISSING_TIME where there is none."""

    ticks: Any
    tick: int

    def before(self, cutoff_ns: int) -> int:
        """The tick t for which ``ticks < t`` means: before the cut-off."""
        return gotime.saturate(-(-cutoff_ns // self.tick))

    def after(self, cutoff_ns: int) -> int:
        """The tick t for which ``ticks > t`` means: after the cut-off."""
        return gotime.saturate(cutoff_ns // self.tick)


def times(frame: pd.DataFrame, name: str, needed_by: str) -> Times:
    """The column ``name`` as integers; times without a zone are UTC, texts are RFC 3339.

    Raises:
        InputError: the column holds something else than times.
    """
    values = column(frame, name, needed_by).array
    if isinstance(values, pd.arrays.DatetimeArray):
        return Times(values.asi8, _TICKS[values.unit])
    if isinstance(values.dtype, pd.ArrowDtype) and pa.types.is_timestamp(values.dtype.pyarrow_dtype):
        arrow = pa.chunked_array(values.__arrow_array__())
        ticks = arrow.cast(pa.int64()).fill_null(MISSING_TIME).to_numpy()
        return Times(ticks, _TICKS[arrow.type.unit])
    if pd.api.types.is_object_dtype(values.dtype) or pd.api.types.is_string_dtype(values.dtype):
        ticks = [MISSING_TIME if value is None or value is pd.NaT or value is pd.NA or value != value  # noqa: PLR0124 -- NaN
                 else _moment(value, name) for value in values]  # fmt: skip
        return Times(np.array(ticks, dtype="int64"), 1)
    raise InputError(f"column {name!r} is of type {values.dtype}; {needed_by} needs times (datetime64, UTC)")


def _moment(value: Any, name: str) -> int:
    try:
        found = gotime.parse_rfc3339(value) if isinstance(value, str) else gotime.to_nanoseconds(value)
    except InputError as error:
        raise InputError(f"column {name!r}: {error}") from None
    return gotime.saturate(found)


def store_numbers(*frames: pd.DataFrame) -> tuple[list[Any], int]:
    """For each frame the number of each row's store (node, namespace), and how many numbers there may be.

    Frames that lack both columns are one store; only columns that all frames have count, and a missing node or namespace
    is a value like any other. None instead of an array stands for: all rows are store 0.
    """
    numbers: list[Any] = [None] * len(frames)
    total = 1
    for name in ("node", "namespace"):
        if not all(name in frame.columns for frame in frames):
            continue
        columns = [text(frame, name, "this filter") for frame in frames]
        words = columns[0].words
        for other in columns[1:]:
            if not (other.words is words or other.words.equals(words)):
                words = words.append(other.words.difference(words, sort=False))  # the first codes still hold
        codes = [_recoded(own, words) for own in columns]
        missing = any(len(each) and each.min() < 0 for each in codes)
        size = max(len(words) + missing, 1)
        if missing:
            codes = [np.where(each < 0, len(words), each) for each in codes]
        if total == 1:
            numbers = codes
        elif size > 1:
            numbers = [each.astype("int64") * size + own for each, own in zip(numbers, codes, strict=True)]
        total *= size
    return numbers, total


def _recoded(own: TextColumn, words: pd.Index) -> Any:
    if own.words is words or own.words.equals(words[: len(own.words)]):
        return own.codes
    return gather(np.append(words.get_indexer(own.words), -1).astype("int32"), own.codes)


def _label_map(value: Any) -> Mapping[str, str]:
    if isinstance(value, Mapping):
        return value
    with contextlib.suppress(TypeError, ValueError):
        if isinstance(decoded := json.loads(value), dict):
            return decoded
    raise InputError(f"column of labels holds {value!r}; expected a JSON object of texts")


label_maps: PerWords[list[Mapping[str, str]]] = PerWords(lambda words: [_label_map(word) for word in words])
"""The label maps of unique texts of JSON, in their order."""


class Labels(NamedTuple):
    """A column of labels: the unique maps, and per row the place of its map, -1 where unknown."""

    codes: Any
    maps: list[Mapping[str, str]]


def labels(frame: pd.DataFrame, name: str, needed_by: str) -> Labels:
    """The column ``name`` of labels, whether JSON text or dicts."""
    series = column(frame, name, needed_by)
    if pd.api.types.is_object_dtype(series.dtype) and any(
        isinstance(value, Mapping) for value in series.array
    ):
        return _dict_labels(series.array)
    found = text(frame, name, needed_by)
    return Labels(found.codes, label_maps(found.words))


def _dict_labels(values: Any) -> Labels:
    places: dict[str, int] = {}
    maps: list[Mapping[str, str]] = []
    codes = np.empty(len(values), dtype="int64")
    for row, value in enumerate(values):
        if value is None or value is pd.NA or value != value:  # noqa: PLR0124 -- NaN
            codes[row] = -1
            continue
        found = _label_map(value)
        key = json.dumps(found, sort_keys=True)
        if key not in places:
            places[key] = len(maps)
            maps.append(found)
        codes[row] = places[key]
    return Labels(codes, maps)
