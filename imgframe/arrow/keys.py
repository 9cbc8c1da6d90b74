"""Keys of Arrow tables as numbers: text columns in one space of codes, and row numbers by key.

A key of these tables is a scope (node and namespace, or node alone, or with a snapshotter) and a word (digest, key, name).
Words repeat across scopes, so keys are looked up in a table of words that is filled anew for each scope: about ten times
faster than hashing or sorting the pairs, if rows are grouped by scope as a collection leaves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

NONE = -1
"""The row number or code that means none."""


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def unify(columns: Sequence[pa.Array | pa.ChunkedArray]) -> tuple[list[Ints], pa.Array]:
    """Codes of several dictionary columns in one space of words, -1 for NA, and the words.

    Example:
        >>> import pyarrow as pa
        >>> first, second = (pa.array(v).dictionary_encode() for v in (["a", "b"], ["b", None]))
        >>> [codes.tolist() for codes in unify([first, second])[0]]
        [[0, 1], [1, -1]]
    """
    arrays = [one_array(column) for column in columns]
    distinct: list[pa.Array] = []
    for array in arrays:
        if len(array.dictionary) and not any(array.dictionary.equals(seen) for seen in distinct):
            distinct.append(array.dictionary)
    if not distinct:
        return [np.full(len(array), NONE, np.int64) for array in arrays], pa.array([], pa.string())
    if len(distinct) == 1:
        return [plain_codes(array) for array in arrays], distinct[0]
    every = pc.dictionary_encode(
        pa.concat_arrays(distinct), null_encoding="encode"
    )  # each word is hashed once
    ends = np.cumsum([len(dictionary) for dictionary in distinct])
    places = np.split(every.indices.to_numpy().astype(np.int64), ends[:-1])
    out = []
    for array in arrays:
        codes = plain_codes(array)
        if len(array.dictionary):
            place = next(p for p, d in zip(places, distinct, strict=True) if d.equals(array.dictionary))
            codes = np.where(codes < 0, NONE, place[codes]) if (codes < 0).any() else place[codes]
        out.append(codes)
    return out, every.dictionary


def plain_codes(column: pa.Array | pa.ChunkedArray) -> Ints:
    """The codes of a dictionary column as int64, -1 for NA."""
    indices = one_array(column).indices
    if indices.null_count:
        indices = indices.fill_null(NONE)
    return indices.to_numpy(zero_copy_only=False).astype(np.int64)


def combined(*codes: Ints, sizes: Sequence[int]) -> Ints:
    """Several code columns as one mixed-radix number; ``sizes`` are the numbers of words, NA is one more."""
    out = codes[0] + 1
    for column, size in zip(codes[1:], sizes[1:], strict=True):
        out *= (
            size + 1
        )  # in place: with millions of rows the memory of each intermediate costs more than the sum
        out += column
        out += 1
    return out


def scopes(tables: Sequence[pa.Table]) -> tuple[list[Ints], int]:
    """Node and namespace of each row of several tables as one number, and the width of a node in these numbers.

    ``scope // width`` is a number for the node alone.
    """
    nodes, node_words = unify([table["node"] for table in tables])
    spaces, space_words = unify([table["namespace"] for table in tables])
    sizes = [len(node_words), len(space_words)]
    return [combined(*pair, sizes=sizes) for pair in zip(nodes, spaces, strict=True)], len(space_words) + 1


def find(scope: Ints, word: Ints, asked_scope: Ints, asked_word: Ints, words: int) -> Ints:
    """The row number of each asked (scope, word) in the table given by ``scope`` and ``word``, or -1.

    Of several rows with one key the last is taken, so that ``find(k, w, k, w, n)`` gives one row per key.

    Example:
        >>> import numpy as np
        >>> find(np.array([0, 0, 1]), np.array([5, 6, 5]), np.array([1, 0, 1]), np.array([5, 6, 6]), 7).tolist()
        [2, 1, -1]
    """
    if not len(scope) or not len(asked_scope):
        return np.full(len(asked_scope), NONE, np.int64)
    order, scope, word = _by_scope(scope, word)
    asked_order, asked_scope, asked_word = _by_scope(asked_scope, asked_word)
    starts = np.append(0, np.flatnonzero(asked_scope[1:] != asked_scope[:-1]) + 1)
    search = _by_words if len(starts) * 64 <= len(scope) + len(asked_scope) else _by_sorting
    rows = search(scope, word, asked_scope, asked_word, words, starts)
    if order is not None:
        rows = np.where(rows < 0, NONE, order[rows])
    if asked_order is None:
        return rows
    out = np.empty_like(rows)
    out[asked_order] = rows
    return out


def _by_scope(scope: Ints, word: Ints) -> tuple[Ints | None, Ints, Ints]:
    """The rows grouped by scope; the order is None if they already are."""
    if (scope[1:] >= scope[:-1]).all():
        return None, scope, word
    order = stable_order(scope)
    return order, scope[order], word[order]


def stable_order(values: Ints) -> Ints:
    """``argsort(values, kind="stable")`` of numbers from 0; 16 bits at a time, which numpy sorts by counting.

    Example:
        >>> import numpy as np
        >>> stable_order(np.array([70_000, 1, 70_000, 0])).tolist()
        [3, 1, 0, 2]
    """
    order = np.argsort((values & 0xFFFF).astype(np.uint16), kind="stable")
    rest = values >> 16
    while rest.any():
        order = order[np.argsort((rest[order] & 0xFFFF).astype(np.uint16), kind="stable")]
        rest >>= 16
    return order


def _by_words(scope: Ints, word: Ints, asked_scope: Ints, asked_word: Ints, words: int, starts: Ints) -> Ints:
    place = np.full(words + 1, NONE, np.int64)  # the last entry is for NA, which is never found
    out = np.empty(len(asked_word), np.int64)
    wanted = asked_scope[starts]
    begins, ends = np.searchsorted(scope, wanted), np.searchsorted(scope, wanted, side="right")
    stops = np.append(starts[1:], len(asked_word))
    for begin, end, start, stop in zip(
        begins.tolist(), ends.tolist(), starts.tolist(), stops.tolist(), strict=True
    ):
        place[word[begin:end]] = np.arange(begin, end)
        place[words] = NONE
        got = place[asked_word[start:stop]]
        got[got < begin] = NONE  # rows of scopes before this one
        out[start:stop] = got
    return out


def _by_sorting(
    scope: Ints, word: Ints, asked_scope: Ints, asked_word: Ints, words: int, _starts: Ints
) -> Ints:
    """For many small scopes: both parts as one number, sorted."""
    keys = scope * (words + 1) + word
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    asked = asked_scope * (words + 1) + asked_word
    at = np.searchsorted(keys, asked, side="right") - 1
    found = (at >= 0) & (keys[at] == asked) & (asked_word >= 0)
    return np.where(found, order[at], NONE)


def ascending(keys: Ints) -> Ints:
    """The distinct numbers in ascending order: ``np.unique``, which hashes, in a tenth of its time.

    Example:
        >>> import numpy as np
        >>> ascending(np.array([5, 3, 5])).tolist()
        [3, 5]
    """
    if len(keys) < 2 or (keys[1:] > keys[:-1]).all():
        return keys
    keys = np.sort(keys)
    return keys[np.append(True, keys[1:] != keys[:-1])]


def ranges(starts: Ints, counts: Ints) -> Ints:
    """The numbers ``start, start + 1, ...`` of each range, one range after the other.

    Example:
        >>> import numpy as np
        >>> ranges(np.array([4, 9]), np.array([2, 1])).tolist()
        [4, 5, 9]
    """
    total = int(counts.sum())
    if not total:
        return np.empty(0, np.int64)
    ends = np.cumsum(counts)
    return np.repeat(starts - (ends - counts), counts) + np.arange(total)


def grouped(source: Ints, size: int) -> tuple[Ints, Ints]:
    """A stable order by ``source`` and the bounds of each of its ``size`` groups in that order."""
    order = stable_order(source)
    bounds = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=size), out=bounds[1:])
    return order, bounds


def sums(values: Ints, group: Ints, size: int) -> Ints:
    """Exact integer sums of ``values`` per group."""
    out = np.zeros(size, np.int64)
    np.add.at(out, group, values)
    return out


def int_column(values: Ints, known: Bools | None = None) -> pa.Array:
    """An Arrow int64 column, NA where not ``known``."""
    if known is None or known.all():
        return pa.array(values, pa.int64())
    return pa.array(values, pa.int64(), mask=~known)


def numbers(column: pa.Array | pa.ChunkedArray) -> tuple[Ints, Bools]:
    """The values of an integer column (0 where NA) and where they are known."""
    array = one_array(column)
    if not array.null_count:
        return array.to_numpy(), np.ones(len(array), np.bool_)
    known = array.is_valid().to_numpy(zero_copy_only=False)
    return array.fill_null(0).to_numpy(), known
