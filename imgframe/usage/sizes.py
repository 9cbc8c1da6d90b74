"""The size columns of the table ``images``, from the composition of the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imgframe.usage.chains import code_of
from imgframe.usage.composition import Composition, compose, scopes
from imgframe.usage.rows import (
    NONE,
    Bools,
    Ints,
    find,
    int_column,
    numbers,
    one_array,
    plain_codes,
    unify,
)

_MANY = -2
_CHUNK = 1 << 18  # edges per step: what stays in the cache


class Shares(NamedTuple):
    """Per target: bytes of its content and of its snapshots, and how much of each no other target digest needs."""

    content: Ints
    content_unique: Ints
    snapshots: Ints
    snapshots_unique: Ints
    known: Bools


def node_snapshotters(node: pa.ChunkedArray, nodes: pa.Table) -> pa.DictionaryArray:
    """The snapshotter of the node for each row of a column ``node``."""
    (asked, given), words = unify([node, nodes["node"]])
    names = one_array(nodes["snapshotter"])
    of_node = np.full(len(words) + 1, NONE, np.int64)
    of_node[given] = plain_codes(names)
    codes = of_node[asked].astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), names.dictionary)


def unpacked_sizes(
    rows: pa.Table, snapshotter: pa.Array | pa.ChunkedArray, snapshots: pa.Table
) -> tuple[Ints, Bools, Bools]:
    """Sum over the chain ``chain_id`` of each row in a snapshotter: the sum, whether it is known, whether the top is there.

    ``snapshots`` has its column total_size. An empty chain ID is no layers: 0, known, there.
    """
    (chain, key), words = unify([rows["chain_id"], snapshots["key"]])
    (asked_scope, scope), _ = scopes([rows, snapshots])
    (asked_kind, kind), kinds = unify([snapshotter, snapshots["snapshotter"]])
    width = len(kinds) + 1
    found = find(scope * width + kind, key, asked_scope * width + asked_kind, chain, len(words))
    found[asked_kind < 0] = NONE
    total, known = numbers(snapshots["total_size"])
    nothing = chain == code_of(words, "")
    there = found >= 0
    if not len(total):
        return np.zeros(len(chain), np.int64), nothing, nothing
    return np.where(there & ~nothing, total[found], 0), nothing | (there & known[found]), nothing | there


def image_sizes(tables: Mapping[str, pa.Table]) -> dict[str, pa.Array]:
    """The columns of the table ``images`` about bytes, on its rows.

    They are content_size, content_present_size, unpacked_size, unique_size and shared_size.
    ``tables`` holds images (with digest, media_type, manifest_digest, chain_id, snapshotter), manifests (with content_size
    and chain_id), layers, blobs and snapshots (with total_size, see :func:`snapshot_totals`). The columns are on the rows of
    ``images`` and mean what :data:`imgframe.schema.TABLES` says; what cannot be known is NA, never 0:

    - content_present_size, unique_size and shared_size are NA where the target is not in the store or cannot be read;
    - unique_size and shared_size also where a snapshot of the image has no known size or no whole chain;
      unique_size + shared_size = content_present_size + the snapshots of all the image's chains, each once.

    Example:
        >>> from imgframe import schema, usage
        >>> names = ("images", "manifests", "layers", "blobs", "snapshots")
        >>> list(usage.image_sizes({name: schema.empty(name) for name in names}))[:3]
        ['content_size', 'content_present_size', 'unpacked_size']
    """
    images = tables["images"]
    made = compose(tables)
    share = shares(made)
    unpacked, unpacked_known, _ = unpacked_sizes(images, images["snapshotter"], tables["snapshots"])
    unique = share.content_unique + share.snapshots_unique
    total = share.content + share.snapshots
    content, content_known = _content_sizes(images, tables["manifests"])
    return {
        "content_size": int_column(content, content_known),
        "content_present_size": int_column(share.content[made.target], made.known[made.target]),
        "unpacked_size": int_column(unpacked, unpacked_known),
        "unique_size": int_column(unique[made.target], share.known[made.target]),
        "shared_size": int_column((total - unique)[made.target], share.known[made.target]),
    }


def shares(made: Composition) -> Shares:
    """What each target needs, and needs alone."""
    owner = np.full(len(made.blob_size), NONE, np.int64)
    alone = made.blob_size.copy()
    count = len(made.first)
    content, unique = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for some, edges, starts in _steps(made):
        blob = made.blob[edges]
        owner[blob] = np.repeat(made.group[some], np.diff(starts))
        content[some] = _sums(made.blob_size[blob], starts)
    for some, edges, starts in _steps(made):
        blob = made.blob[edges]
        alone[blob[owner[blob] != np.repeat(made.group[some], np.diff(starts))]] = 0
    for some, edges, starts in _steps(made):
        unique[some] = _sums(alone[made.blob[edges]], starts)
    snapshots, known = _chain_totals(made)
    return Shares(content, unique, snapshots, _chain_unique(made), made.known & known)


def _steps(made: Composition) -> Iterator[tuple[slice, slice, Ints]]:
    """Ranges of targets with their edges, small enough for the cache, and the bounds of each target in them."""
    begin, count = 0, len(made.first)
    while begin < count:
        end = int(np.searchsorted(made.bounds, made.bounds[begin] + _CHUNK, side="right")) - 1
        end = min(max(end, begin + 1), count)
        starts = made.bounds[begin : end + 1]
        yield slice(begin, end), slice(int(starts[0]), int(starts[-1])), starts - starts[0]
        begin = end


def _sums(values: Ints, starts: Ints) -> Ints:
    """Exact sums of the values between the bounds."""
    running = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=running[1:])
    return running[starts[1:]] - running[starts[:-1]]


def _chain_totals(made: Composition) -> tuple[Ints, Bools]:
    """Bytes of all snapshots of each target, each once, and whether they are all known."""
    out = np.zeros(len(made.first), np.int64)
    known = np.ones(len(made.first), np.bool_)
    known[made.top_target[~made.chains.known_size[made.top]]] = False
    several = np.bincount(made.top_target, minlength=len(out))[made.top_target] > 1
    np.add.at(out, made.top_target[~several], made.chains.size[made.top[~several]])
    target, row = (
        made.top_target[several & known[made.top_target]],
        made.top[several & known[made.top_target]],
    )
    count = len(made.snapshot_size) + 1
    seen = np.empty(0, np.int64)
    while len(row):  # chains of one image in several platforms or snapshotters: shared bases count once
        new = np.setdiff1d(target * count + row, seen)
        seen = np.union1d(seen, new)
        target, row = new // count, made.chains.parent[new % count]
        np.add.at(out, target, made.snapshot_size[new % count])
        target, row = target[row >= 0], row[row >= 0]
    return out, known


def _chain_unique(made: Composition) -> Ints:
    """Bytes of the snapshots that only one target needs, per target."""
    owner = np.full(len(made.snapshot_size), NONE, np.int64)
    good = ~made.chains.cycle[made.top]
    _claim(owner, made.top[good], made.top_target[good])
    for rows, parent in made.levels:
        mine = owner[rows]
        used = np.flatnonzero(mine != NONE)
        _claim(owner, parent[used], mine[used])
    sole = np.flatnonzero(owner >= 0)
    out = np.zeros(len(made.first), np.int64)
    np.add.at(out, owner[sole], made.snapshot_size[sole])
    return out


def _claim(out: Ints, rows: Ints, owner: Ints) -> None:
    """Enter owners for rows; a row that two different owners claim has several."""
    free = out[rows] == NONE
    out[rows[free]] = owner[free]
    out[rows[out[rows] != owner]] = _MANY


def _content_sizes(images: pa.Table, manifests: pa.Table) -> tuple[Ints, Bools]:
    """The content_size of the manifest that the node's platform resolves to, and whether it is known."""
    (asked, manifest), words = unify([images["manifest_digest"], manifests["digest"]])
    (asked_scope, scope), _ = scopes([images, manifests])
    size, known = numbers(manifests["content_size"])
    known_rows = np.flatnonzero(known)
    row = find(scope[known_rows], manifest[known_rows], asked_scope, asked, len(words))
    if not len(known_rows):
        return np.zeros(len(asked), np.int64), np.zeros(len(asked), np.bool_)
    return np.where(row >= 0, size[known_rows[row]], 0), row >= 0
