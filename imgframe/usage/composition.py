"""What images consist of: the blobs and snapshots that each target digest needs.

The documents decide (tables ``manifests`` and ``layers``), not the labels of garbage collection. A target needs its own blob;
an index needs its manifests, a manifest its config and layers and the snapshots of its chain in every snapshotter of its
namespace. This goes through blobs that are present only: an index does not need the layers of a manifest that was never
fetched.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imgframe.arrow.keys import (
    NONE,
    Bools,
    Ints,
    ascending,
    find,
    numbers,
    one_array,
    plain_codes,
    ranges,
    scopes,
    stable_order,
    unify,
)
from imgframe.usage.chains import Chains, chains_of

CHUNK = 1 << 16  # edges or snapshots per step: what fits in the cache
DOCUMENT_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""Media types of targets that refer to other blobs."""


class DocumentParts(NamedTuple):
    """Document ``d`` has the parts ``parts[bounds[d]:bounds[d + 1]]``: itself first, then each digest it refers to, once."""

    bounds: Ints
    parts: Ints

    @property
    def has_parts(self) -> Bools:
        """Whether the document refers to others."""
        return np.diff(self.bounds) > 1


@dataclass(frozen=True, slots=True)
class Composition:
    """What every target (an image digest in a namespace of a node) needs, as edges sorted by target.

    ``target`` is the target of each row of ``images``, ``first`` one such row of each target. ``group`` joins the targets of
    one digest in several namespaces of a node. ``known`` is False where the needs cannot be known: the target is absent, or
    it or a config is unreadable. Target ``t`` needs the blobs ``blob[bounds[t]:bounds[t + 1]]``, each once, ``content[t]``
    bytes in all: rows of ``blobs``, one row per blob of a node however many namespaces list it (``physical`` maps every row
    to it). ``sole`` marks the rows that only one group needs. ``top_target`` and ``top`` are the top snapshots of the chains
    needed, as rows of ``snapshots``; ``snapshots`` are the bytes of a target's chains, each snapshot once, where they are
    ``whole``. ``levels`` are the snapshots that have a parent, with their parents, each after all its children.
    """

    target: Ints
    first: Ints
    group: Ints
    known: Bools
    bounds: Ints
    blob: Ints
    physical: Ints
    blob_size: Ints
    sole: Bools
    top_target: Ints
    top: Ints
    chains: Chains
    levels: list[tuple[Ints, Ints]]
    snapshot_size: Ints
    content: Ints
    snapshots: Ints
    whole: Bools


def compose(tables: Mapping[str, pa.Table], chains: Chains | None = None) -> Composition:
    """The composition of all images from the tables images, manifests, layers, blobs and snapshots.

    ``chains`` are those of the table snapshots, if already resolved.

    Example:
        >>> from imgframe import schema
        >>> names = ("images", "manifests", "layers", "blobs", "snapshots")
        >>> len(compose({name: schema.empty(name) for name in names}).first)
        0
    """
    images, manifests, layers, blobs = (tables[name] for name in ("images", "manifests", "layers", "blobs"))
    snapshots = tables["snapshots"]
    codes, words = unify(
        [
            images["digest"],
            *(manifests[name] for name in ("digest", "parent_digest", "config_digest")),
            *(layers[name] for name in ("manifest_digest", "digest")),
            blobs["digest"],
        ]
    )
    image, manifest, parent, config, layered, layer, blob = codes
    (image_scope, blob_scope, snapshot_scope), width = scopes([images, blobs, snapshots])
    count = len(words)
    documents = _documents([(parent, manifest), (manifest, config), (layered, layer)], count)
    target, first = _targets(image_scope, image, count)
    found = find(blob_scope, blob, image_scope[first], image[first], count)
    blobs_of = _Blobs(blob_scope, blob, count)
    bounds, edge_blob = _expand(found, image_scope[first], blobs_of, documents)
    edge_target = np.repeat(np.arange(len(first)), np.diff(bounds))
    chain, top = _chain_codes(manifests, manifest, snapshots, count)
    known = (found >= 0) & ~_illegible(
        images["media_type"], first, np.append(documents.has_parts, False)[image[first]]
    )
    known[_without_chain(edge_target, edge_blob, blobs_of, chain, manifest, config)] = False
    top_target, top_row = _tops(
        edge_target, blob[edge_blob], image_scope[first], chain, snapshots, snapshot_scope, top
    )
    node = blob_scope // width
    physical = find(node, blob, node, blob, count)
    group = _groups(image_scope[first] // width * (count + 1) + image[first])
    needed, blob_size = physical[edge_blob], numbers(blobs["size"])[0]
    chains = chains_of(snapshots) if chains is None else chains
    snapshot_size = numbers(snapshots["size"])[0]
    chained, whole = _chain_totals(len(first), top_target, top_row, chains, snapshot_size)
    return Composition(
        target,
        first,
        group,
        known,
        bounds,
        needed,
        physical,
        blob_size,
        _holders(group, bounds, needed, len(physical)) == 1,
        top_target,
        top_row,
        chains,
        _levels(chains),
        snapshot_size,
        sums_within(bounds, needed, blob_size),
        chained,
        whole,
    )


def sums_within(bounds: Ints, blob: Ints, size: Ints, counts: Bools | None = None) -> Ints:
    """Exact sums of sizes over the blobs between bounds, of those that count; as many at a time as fit in the cache.

    Example:
        >>> import numpy as np
        >>> sums_within(np.array([0, 2, 2, 3]), np.array([0, 1, 1]), np.array([5, 7])).tolist()
        [12, 0, 7]
    """
    out = np.empty(len(bounds) - 1, np.int64)
    begin, count = 0, len(out)
    while begin < count:
        end = int(np.searchsorted(bounds, bounds[begin] + CHUNK, side="right")) - 1
        end = min(max(end, begin + 1), count)
        places = bounds[begin : end + 1] - bounds[begin]
        some = blob[bounds[begin] : bounds[end]]
        running = np.zeros(len(some) + 1, np.int64)
        values = size[some] if counts is None else size[some] * counts[some]
        np.cumsum(values, out=running[1:])
        np.subtract(running[places[1:]], running[places[:-1]], out=out[begin:end])
        begin = end
    return out


def _chain_totals(count: int, top_target: Ints, top: Ints, chains: Chains, size: Ints) -> tuple[Ints, Bools]:
    """Bytes of all snapshots of each target, each counted once, and whether all are known."""
    out = np.zeros(count, np.int64)
    known = np.ones(count, np.bool_)
    known[top_target[~chains.known_size[top]]] = False
    several = np.bincount(top_target, minlength=count)[top_target] > 1
    out[top_target[~several]] = chains.size[top[~several]]
    chosen = several & known[top_target]
    target, row = top_target[chosen], top[chosen]
    width = len(size) + 1
    seen = np.empty(0, np.int64)
    while len(row):  # chains of one image in several platforms or snapshotters: shared bases count once
        new = np.setdiff1d(target * width + row, seen)
        seen = np.union1d(seen, new)
        target, row = new // width, chains.parent[new % width]
        np.add.at(out, target, size[new % width])
        target, row = target[row >= 0], row[row >= 0]
    return out, known


def _groups(keys: Ints) -> Ints:
    """A number for each distinct key, in ascending order."""
    if (keys[1:] > keys[:-1]).all():
        return np.arange(len(keys))
    return np.unique(keys, return_inverse=True)[1]


def _holders(group: Ints, bounds: Ints, blob: Ints, count: int) -> Ints:
    """How many groups need each blob: the edges to it, with those from targets of one group counted once."""
    holders = np.bincount(blob, minlength=count)
    several = np.flatnonzero(np.bincount(group)[group] > 1) if len(group) else group
    if len(several):
        degree = bounds[several + 1] - bounds[several]
        keys = np.repeat(group[several], degree) * count + blob[ranges(bounds[several], degree)]
        keys.sort()
        np.subtract.at(holders, keys[1:][keys[1:] == keys[:-1]] % count, 1)
    return holders


def _levels(chains: Chains) -> list[tuple[Ints, Ints]]:
    """Snapshots with a parent and their parents, block by block and deepest first; without cycles."""
    out = []
    usable = ~chains.cycle & (chains.parent >= 0)
    for block in chains.blocks:
        rows = np.flatnonzero(usable[block])
        rows = rows + block.start if isinstance(block, slice) else block[rows]
        depth = chains.depth[rows]
        rows = rows[stable_order(depth)]
        above = chains.parent[rows]
        ends = np.cumsum(np.bincount(depth)).tolist() if len(rows) else []
        out += [(rows[begin:end], above[begin:end]) for begin, end in reversed([*itertools.pairwise(ends)])]
    return out


class _Blobs(NamedTuple):
    """The key of the table blobs."""

    scope: Ints
    digest: Ints
    words: int

    def find(self, scope: Ints, digest: Ints) -> Ints:
        return find(self.scope, self.digest, scope, digest, self.words)


def _documents(pairs: Sequence[tuple[Ints, Ints]], words: int) -> DocumentParts:
    """The parts of each document from pairs of document and part."""
    keys = [
        np.arange(words) * (words + 1)
    ]  # the document itself is its first part: part 0, others are one higher
    for whole, part in pairs:
        good = (whole >= 0) & (part >= 0) & (whole != part)
        keys.append(ascending(whole[good] * (words + 1) + part[good] + 1))
    both = ascending(np.concatenate(keys))
    whole, part = both // (words + 1), both % (words + 1) - 1
    bounds = np.searchsorted(whole, np.arange(words + 1))
    return DocumentParts(bounds, np.where(part < 0, whole, part))


def _targets(scope: Ints, digest: Ints, words: int) -> tuple[Ints, Ints]:
    """The target of each image, and one image per target, sorted by scope."""
    _, first, target = np.unique(scope * (words + 1) + digest + 1, return_index=True, return_inverse=True)
    return target, first


def _expand(found: Ints, scope: Ints, blobs: _Blobs, documents: DocumentParts) -> tuple[Ints, Ints]:
    """The blobs that each target needs, as bounds and rows: its own, its parts, the parts of those, and so on."""
    count = max(len(blobs.digest), 1)
    target = np.flatnonzero(found >= 0)
    done = read = target * count + found[target]
    rounds = []
    while len(read):
        target, rows = _step(read // count, read % count, scope, blobs, documents)
        rounds.append((target, rows))
        inner = np.flatnonzero(documents.has_parts[blobs.digest[rows]])
        deeper = ascending(target[inner] * count + rows[inner])
        read = deeper[~_among(deeper, done)]
        done = ascending(np.concatenate([done, read]))
    if len(rounds) == 1:
        ((target, rows),) = rounds
    else:
        keys = ascending(np.concatenate([done, *(target * count + rows for target, rows in rounds)]))
        target, rows = keys // count, keys % count
    bounds = np.zeros(len(found) + 1, np.int64)
    np.cumsum(np.bincount(target, minlength=len(found)), out=bounds[1:])
    return bounds, rows


def _among(keys: Ints, ordered: Ints) -> Bools:
    """Which keys are among others that are sorted."""
    at = np.searchsorted(ordered, keys)
    at[at == len(ordered)] = 0
    return ordered[at] == keys


def _step(
    target: Ints, rows: Ints, scope: Ints, blobs: _Blobs, documents: DocumentParts
) -> tuple[Ints, Ints]:
    """The parts of the documents in ``rows`` that are in the namespace, including the documents themselves."""
    digest = blobs.digest[rows]
    start = documents.bounds[digest]
    counts = documents.bounds[digest + 1] - start
    rows = blobs.find(np.repeat(scope[target], counts), documents.parts[ranges(start, counts)])
    target = np.repeat(target, counts)
    there = rows >= 0
    return (target, rows) if there.all() else (target[there], rows[there])


def _illegible(media_type: pa.ChunkedArray, first: Ints, has_parts: Bools) -> Bools:
    """Targets that should refer to other blobs by their type, but no reference of theirs is known."""
    media = one_array(media_type)
    kinds = np.array([kind in DOCUMENT_TYPES for kind in media.dictionary.to_pylist()] + [True])
    return kinds[plain_codes(media)[first]] & ~has_parts


def _chain_codes(manifests: pa.Table, manifest: Ints, snapshots: pa.Table, words: int) -> tuple[Ints, Ints]:
    """For each digest the code of its chain ID (-1: not known), and the snapshot keys in the same codes."""
    (chain, key), names = unify([manifests["chain_id"], snapshots["key"]])
    out = np.full(words, NONE, np.int64)
    given = (chain >= 0) & (manifest >= 0)
    out[manifest[given]] = chain[given]
    return out, np.append(key, len(names))  # the last entry carries the number of words


def _without_chain(target: Ints, row: Ints, blobs: _Blobs, chain: Ints, manifest: Ints, config: Ints) -> Ints:
    """Targets that need a manifest whose config is in the namespace but unreadable: its snapshots are unknown."""
    config_of = np.full(blobs.words, NONE, np.int64)
    config_of[manifest[manifest >= 0]] = config[manifest >= 0]
    config_of[chain >= 0] = NONE
    doubtful = np.flatnonzero(config_of[blobs.digest[row]] >= 0)
    digest = blobs.digest[row[doubtful]]
    there = blobs.find(blobs.scope[row[doubtful]], config_of[digest]) >= 0
    return target[doubtful[there]]


def _tops(
    target: Ints,
    digest: Ints,
    scope: Ints,
    chain: Ints,
    snapshots: pa.Table,
    snapshot_scope: Ints,
    keys: Ints,
) -> tuple[Ints, Ints]:
    """The top snapshots of the chains of the manifests that each target needs, in every snapshotter; each pair once."""
    edges = np.flatnonzero(chain[digest] >= 0)
    target, wanted = target[edges], chain[digest[edges]]
    snapshotter = one_array(snapshots["snapshotter"])
    kinds = len(snapshotter.dictionary)
    place = snapshot_scope * (kinds + 1) + plain_codes(snapshotter)
    pairs = []
    for kind in range(kinds):
        rows = find(place, keys[:-1], scope[target] * (kinds + 1) + kind, wanted, int(keys[-1]))
        there = rows >= 0
        pairs.append(target[there] * max(len(keys), 1) + rows[there])
    both = ascending(np.concatenate(pairs)) if pairs else np.empty(0, np.int64)
    return both // max(len(keys), 1), both % max(len(keys), 1)
