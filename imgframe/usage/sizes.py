"""The size columns of the table ``images``, computed from the composition of the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imgframe.arrow.keys import (
    NONE,
    Bools,
    Ints,
    find,
    int_column,
    numbers,
    one_array,
    plain_codes,
    scopes,
    unify,
)
from imgframe.usage.chains import Chains, code_of
from imgframe.usage.composition import CHUNK, Composition, compose, sums_within


class Shares(NamedTuple):
    """Per target: the bytes of its content and its snapshots, and of each how many no other target digest needs."""

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
    """Per row the sum over the chain ``chain_id`` in a snapshotter, whether it is known, and whether the top snapshot exists.

    ``snapshots`` has its column total_size. An empty chain ID means no layers: 0, known, present.
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


def image_sizes(tables: Mapping[str, pa.Table], chains: Chains | None = None) -> dict[str, pa.Array]:
    """The columns of the table ``images`` about bytes, on its rows.

    They are content_size, content_present_size, unpacked_size, unique_size and shared_size.
    ``tables`` holds images (with digest, media_type, manifest_digest, chain_id, snapshotter), manifests (with content_size
    and chain_id), layers, blobs and snapshots (with total_size, see :func:`snapshot_totals`); ``chains`` (see
    :attr:`SnapshotTotals.chains`) saves resolving them again. :data:`imgframe.schema.TABLES` defines the columns; what
    cannot be known is NA, never 0:

    - content_present_size, unique_size and shared_size are NA where the target is not in the store or cannot be read;
    - unique_size and shared_size also where a snapshot of the image has an unknown size or a broken chain;
      unique_size + shared_size = content_present_size + the snapshots of all the image's chains, each once.

    Example:
        >>> from imgframe import schema, usage
        >>> names = ("images", "manifests", "layers", "blobs", "snapshots")
        >>> list(usage.image_sizes({name: schema.empty(name) for name in names}))[:3]
        ['content_size', 'content_present_size', 'unpacked_size']
    """
    images = tables["images"]
    made = compose(tables, chains)
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
    """What each target needs, and what it alone needs."""
    unique = sums_within(made.bounds, made.blob, made.blob_size, made.sole)
    return Shares(made.content, unique, made.snapshots, _chain_unique(made), made.known & made.whole)


def _chain_unique(made: Composition) -> Ints:
    """Per target the bytes of the snapshots that no other target needs.

    From the tops to the bases each snapshot gets the lowest and the highest number of the targets that need it.
    """
    count, rows = len(made.first), len(made.snapshot_size)
    low, high = np.full(rows, count, np.int32), np.full(rows, NONE, np.int32)
    good = ~made.chains.cycle[made.top]
    top, target = made.top[good], made.top_target[good].astype(np.int32)
    np.minimum.at(low, top, target)
    np.maximum.at(high, top, target)
    for below, parent in made.levels:
        np.minimum.at(low, parent, low[below])
        np.maximum.at(high, parent, high[below])
    out = np.zeros(count + 1, np.int64)  # the last entry is for snapshots of no target or several
    for begin in range(0, rows, CHUNK):
        some = slice(begin, begin + CHUNK)
        owner = np.where(low[some] == high[some], high[some], count).astype(np.int64)
        np.add.at(out, owner, made.snapshot_size[some])
    return out[:count]


def _content_sizes(images: pa.Table, manifests: pa.Table) -> tuple[Ints, Bools]:
    """The content_size of the manifest that the image resolves to on the node's platform, and whether it is known."""
    (asked, manifest), words = unify([images["manifest_digest"], manifests["digest"]])
    (asked_scope, scope), _ = scopes([images, manifests])
    size, known = numbers(manifests["content_size"])
    known_rows = np.flatnonzero(known)
    row = find(scope[known_rows], manifest[known_rows], asked_scope, asked, len(words))
    if not len(known_rows):
        return np.zeros(len(asked), np.int64), np.zeros(len(asked), np.bool_)
    return np.where(row >= 0, size[known_rows[row]], 0), row >= 0
