"""Whose bytes they are: the store's bytes by repository, namespace, label, node and registry, and what images share.

A group of image records needs blobs and snapshots; what several groups need is shared out in equal parts. Bytes that do not
divide go one each to the first groups in the order of the frame, so that ``share_bytes`` sum to the store's total exactly.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from imgframe import schema
from imgframe.arrow.image_rows import distinct, nanoseconds, rows_of
from imgframe.arrow.keys import Ints, numbers, one_array, plain_codes, ranges, sums
from imgframe.errors import InputError
from imgframe.inventory import Inventory, memoised
from imgframe.reclaiming.breakdown import used_images
from imgframe.reclaiming.graph import graph_of
from imgframe.reclaiming.per_image import group_bytes
from imgframe.usage.chains import chains_in
from imgframe.usage.composition import Composition, compose
from imgframe.usage.sizes import shares

_TABLES = ("images", "manifests", "layers", "blobs", "snapshots")


def by_repository(inventory: Inventory, *, now: Any = None) -> pd.DataFrame:
    """Bytes by repository: one row per ``repository``, and one with <NA> for what no image needs.

    Columns after the group: ``images`` (records), ``logical_bytes`` (what each record needs, added up as if nothing were
    shared), ``physical_bytes`` (what the group needs, each blob of a node and each snapshot once), ``unique_bytes`` (of that,
    what no other group needs), ``shared_bytes`` (the rest), ``share_bytes`` (the group's part where shared bytes are divided
    equally; they sum to the stores' total exactly), ``reclaimable_bytes`` (what deleting those of its images that no container
    uses frees), ``unknown`` (snapshots whose size was not collected; they count 0).

    The sizes are those of the images' documents; see ``docs/bytes.md``.

    Example:
        >>> import imgframe as imf
        >>> list(imf.capacity.by_repository(imf.Inventory({})).columns)[:5]
        ['repository', 'images', 'logical_bytes', 'physical_bytes', 'unique_bytes']
    """
    return _by_column(inventory, "repository", now)


def by_namespace(inventory: Inventory, *, now: Any = None) -> pd.DataFrame:
    """Bytes by containerd namespace; columns as :func:`by_repository`.

    Example:
        >>> import imgframe as imf
        >>> imf.capacity.by_namespace(imf.Inventory({})).columns[0]
        'namespace'
    """
    return _by_column(inventory, "namespace", now)


def by_node(inventory: Inventory, *, now: Any = None) -> pd.DataFrame:
    """Bytes by node; columns as :func:`by_repository`.

    Example:
        >>> import imgframe as imf
        >>> imf.capacity.by_node(imf.Inventory({})).columns[0]
        'node'
    """
    return _by_column(inventory, "node", now)


def by_registry(inventory: Inventory, *, now: Any = None) -> pd.DataFrame:
    """Bytes by registry, the column ``domain`` of images (empty: none); columns as :func:`by_repository`.

    Example:
        >>> import imgframe as imf
        >>> imf.capacity.by_registry(imf.Inventory({})).columns[0]
        'registry'
    """
    return _by_column(inventory, "domain", now).rename(columns={"domain": "registry"})


def by_label(inventory: Inventory, label: str, *, now: Any = None) -> pd.DataFrame:
    """Bytes by the value of a label of the images' configs (empty: without it); columns as :func:`by_repository`.

    Raises:
        InputError: the label has no name.

    Example:
        >>> import imgframe as imf
        >>> imf.capacity.by_label(imf.Inventory({}), "team").columns[0]
        'team'
    """
    if not label:
        raise InputError("by_label needs the name of a label, such as 'org.opencontainers.image.vendor'")
    column = one_array(inventory.arrow("images")["labels"])
    texts = [json.loads(text).get(label, "") for text in column.dictionary.to_pylist()]
    values = [*texts, ""]
    return _by(inventory, label, [values[code] for code in plain_codes(column).tolist()], now)


def _by_column(inventory: Inventory, name: str, now: Any) -> pd.DataFrame:
    values = [value or "" for value in inventory.arrow("images")[name].to_pylist()]
    return _by(inventory, name, values, now)


@memoised
def composition_of(inventory: Inventory) -> Composition:
    """What the images of an inventory consist of."""
    return compose({name: inventory.arrow(name) for name in _TABLES}, chains_in(inventory))


def _by(inventory: Inventory, name: str, values: list[str], now: Any) -> pd.DataFrame:
    words = sorted(set(values))
    place = {word: at for at, word in enumerate(words)}
    group = np.array([place[value] for value in values], np.int64)
    made, count = composition_of(inventory), len(words)
    share = shares(made)
    holder, blob = _needed_blobs(made, group)
    keeper, snapshot = _needed_snapshots(made, group)
    logical = (share.content + share.snapshots)[made.target]
    parts = (
        _attributed(made.blob_size, holder, blob, count),
        _attributed(made.snapshot_size, keeper, snapshot, count),
    )
    physical, unique, own = (content + unpacked for content, unpacked in zip(*parts, strict=True))
    moment = nanoseconds(now)
    unused = np.where(used_images(inventory.arrow("images")), -1, group)
    known = numbers(inventory.arrow("snapshots")["size"])[1]
    data = {
        "images": np.bincount(group, minlength=count),
        "logical_bytes": sums(logical, group, count),
        "physical_bytes": physical,
        "unique_bytes": unique,
        "shared_bytes": physical - unique,
        "share_bytes": own,
        "reclaimable_bytes": group_bytes(graph_of(inventory, moment), unused, count, moment)["total_bytes"],
        "unknown": sums((~known[snapshot]).astype(np.int64), keeper, count),
    }
    size, lost = _rest(inventory, made, blob, snapshot, known)
    rest = {"physical_bytes": size, "unique_bytes": size, "share_bytes": size, "unknown": lost}
    columns = {
        column: pd.array([*values.tolist(), rest.get(column, 0)], dtype="Int64")
        for column, values in data.items()
    }
    return pd.DataFrame({name: pd.Categorical([*words, None], categories=words), **columns})


def _needed_blobs(made: Composition, group: Ints) -> tuple[Ints, Ints]:
    """Each group and each physical blob it needs, once, sorted by blob."""
    holder, target = _pairs(group, made.target)
    count = made.bounds[target + 1] - made.bounds[target]
    blob, holder = _pairs(made.blob[ranges(made.bounds[target], count)], np.repeat(holder, count))
    return holder, blob


def _needed_snapshots(made: Composition, group: Ints) -> tuple[Ints, Ints]:
    """Each group and each snapshot it needs, parents among them, once, sorted by snapshot."""
    holder, target = _pairs(group, made.target)
    begin = np.searchsorted(made.top_target, target)
    count = np.searchsorted(made.top_target, target, side="right") - begin
    row, holder = _pairs(made.top[ranges(begin, count)], np.repeat(holder, count))
    width = max(int(group.max(initial=0)) + 1, 1)
    new = seen = row * width + holder
    while len(new):
        up = made.chains.parent[new // width]
        new = np.setdiff1d((up * width + new % width)[up >= 0], seen)
        seen = np.union1d(seen, new)
    return seen % width, seen // width


def _pairs(first: Ints, second: Ints) -> tuple[Ints, Ints]:
    width = int(second.max(initial=0)) + 1
    both = np.unique(first * width + second)
    return both // width, both % width


def _attributed(size: Ints, holder: Ints, item: Ints, count: int) -> tuple[Ints, Ints, Ints]:
    """Physical, unique and shared-out bytes per group from pairs sorted by item, groups in order."""
    holders = np.bincount(item, minlength=len(size))[item] if len(item) else item
    mine = size[item]
    rank = np.arange(len(item)) - np.searchsorted(item, item)
    part = mine // np.maximum(holders, 1) + (rank < mine % np.maximum(holders, 1))
    return (
        sums(mine, holder, count),
        sums(np.where(holders == 1, mine, 0), holder, count),
        sums(part, holder, count),
    )


def _rest(inventory: Inventory, made: Composition, blob: Ints, snapshot: Ints, known: Any) -> tuple[int, int]:
    """Bytes that no image needs, and how many snapshots of unknown size are among them."""
    loose = made.physical == np.arange(len(made.physical))
    loose[blob] = False
    free = np.ones(len(made.snapshot_size), np.bool_)
    free[snapshot] = False
    ingests = numbers(inventory.arrow("ingests")["offset"])[0]
    total = int(made.blob_size[loose].sum()) + int(made.snapshot_size[free].sum()) + int(ingests.sum())
    return total, int((free & ~known).sum())


def layer_sharing(inventory: Inventory, images: pd.DataFrame | None = None) -> pd.DataFrame:
    """How many bytes each pair of images shares: a square frame by image name [bytes], content and snapshots.

    On the diagonal stands what the image itself needs. ``images`` are rows of one namespace of one node (default: all records,
    where the inventory holds just one namespace).

    Raises:
        InputError: the rows are of several namespaces or nodes, where names would not tell them apart.

    Example:
        >>> import imgframe as imf
        >>> imf.capacity.layer_sharing(imf.Inventory({})).shape
        (0, 0)
    """
    table = inventory.arrow("images")
    rows = np.arange(table.num_rows) if images is None else distinct(rows_of(table, images, "layer_sharing"))
    chosen = table.take(pa.array(rows))
    spaces = set(zip(chosen["node"].to_pylist(), chosen["namespace"].to_pylist(), strict=True))
    if len(spaces) > 1:
        raise InputError(
            f"layer_sharing compares images of one namespace of one node; these are of {len(spaces)}"
        )
    made = composition_of(inventory)
    made, places = replace(made, target=made.target[rows]), np.arange(len(rows))
    matrix = np.zeros((len(rows), len(rows)), np.int64)
    for size, (holder, item) in (
        (made.blob_size, _needed_blobs(made, places)),
        (made.snapshot_size, _needed_snapshots(made, places)),
    ):
        begin, count = np.searchsorted(item, item), np.bincount(item, minlength=len(size))[item]
        other = holder[ranges(begin, count)]
        np.add.at(matrix, (np.repeat(holder, count), other), np.repeat(size[item], count))
    names = pd.Index(schema.to_frame(chosen.select(["name"]))["name"].astype("str"), name="name")
    return pd.DataFrame(matrix, index=names, columns=names)
