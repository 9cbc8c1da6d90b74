"""Growth: the bytes of every collection of a dataset, per node, repository, namespace or label."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.arrow.keys import NONE, numbers, plain_codes, sums
from imgframe.errors import InputError
from imgframe.golang import time as gotime
from imgframe.reclaiming.reclaim import gaps
from imgframe.usage.node_bytes import content_by_node, snapshots_by_node

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.dataset import Dataset  # types only: this package does not import that one at run time
    from imgframe.dataset.collections import Collection


def growth(dataset: Dataset, by: str = "node", *, max_age: Any = None) -> pd.DataFrame:
    """Bytes over time, one row per collection and group.

    ``by``: ``node`` counts what the store holds, each blob and each snapshot once. ``namespace``, ``repository`` or the key of
    an image label, such as that of a team, counts what the images of the group need, each target digest of a store once; bytes
    that two groups share are in both. A node that a collection could not read has no row for it, and counts in groups with its
    last state; with ``max_age`` (a Go duration such as ``"720h"``, or a timedelta) only while that is no older, so that a node
    taken out of service stops being counted. If a list of blobs or snapshots could not be read, the node's bytes are NA.

    Columns: collected_at (UTC), the group (named as ``by``), images (records), content_bytes, snapshot_bytes, total_bytes;
    for nodes also disk_total and disk_used (total minus free of the file system, NA if unreadable).

    Example:
        >>> import imgframe as imf, tempfile
        >>> from imgframe import schema
        >>> root = tempfile.mkdtemp() + "/history"
        >>> nodes = schema.table("nodes", {"node": ["a"], "collected_at": [10**18]})
        >>> blobs = schema.table("blobs", {"node": ["a"] * 2, "namespace": ["x", "y"], "digest": ["d", "d"], "size": [5, 5]})
        >>> _ = imf.dataset.append(root, imf.Inventory({"nodes": nodes, "blobs": blobs}))
        >>> imf.capacity.growth(imf.open_dataset(root))["total_bytes"].tolist()
        [5]
    """
    import pandas as pd

    names = ["collected_at", by, "images", "content_bytes", "snapshot_bytes", "total_bytes"]
    if by == "node":
        rows = _by_node(dataset)
        names += ["disk_total", "disk_used"]
    else:
        rows = _by_group(dataset, by, None if max_age is None else gotime.to_duration(max_age))
    frame = pd.DataFrame(rows, columns=names)
    frame["collected_at"] = pd.to_datetime(
        frame["collected_at"].astype("int64"), unit="ns", utc=True
    ).dt.as_unit("ns")
    return frame.astype({names[1]: "category", **dict.fromkeys(names[2:], "Int64")})


def _by_node(dataset: Dataset) -> list[tuple[Any, ...]]:
    tables = [
        dataset.batches("nodes", ["node", "collected_at", "disk_total", "disk_free"]),
        dataset.batches("images", ["node"]),
        dataset.batches("blobs", ["node", "digest", "size"]),
        dataset.batches("snapshots", ["node", "size"]),
        dataset.batches("errors", ["node", "stage", "code"]),
    ]
    rows = []
    for (one, nodes), (_, images), (_, blobs), (_, snapshots), (_, errors) in zip(*tables, strict=True):
        records = Counter(images["node"].to_pylist())
        content, unpacked = content_by_node(blobs), snapshots_by_node(snapshots)
        unread = {
            (row["node"], row["stage"]) for row in gaps(errors).to_pylist() if row["code"] != "malformed"
        }  # a malformed entry leaves the rest of the list known
        for row in nodes.to_pylist():
            node, total, free = row["node"], row["disk_total"], row["disk_free"]
            if node in one.failed:
                continue
            images_here, *sizes = (
                None if (node, stage) in unread else found.get(node, 0)
                for stage, found in (("images", records), ("content", content), ("snapshots", unpacked))
            )
            whole = None if None in sizes else sum(size for size in sizes if size is not None)
            used = None if total is None or free is None else total - free
            rows.append((row["collected_at"].value, node, images_here, *sizes, whole, total, used))
    return rows


def _by_group(dataset: Dataset, by: str, max_age: int | None) -> list[tuple[Any, ...]]:
    column = by if by in {"namespace", "repository"} else "labels"
    wanted = ["node", "namespace", column, "digest", "content_present_size", "unpacked_size"]
    rows = []
    for one, images in _carried(dataset, list(dict.fromkeys(wanted)), max_age):
        groups, codes = _grouped(images[column].combine_chunks(), None if column == by else by)
        found = np.bincount(codes[codes >= 0], minlength=len(groups))
        content, unpacked = _deduplicated(images, codes, len(groups))
        columns = (groups, found.tolist(), content.tolist(), unpacked.tolist(), (content + unpacked).tolist())
        rows += [(one.collected_at, *values) for values in zip(*columns, strict=True)]
    if column == "labels" and not rows:
        raise InputError(
            f"no image has the label {by!r}; group by node, namespace, repository or a label that images carry"
        )
    return rows


def _carried(
    dataset: Dataset, columns: list[str], max_age: int | None
) -> Iterator[tuple[Collection, pa.Table]]:
    """The images of each collection, with those that nodes it did not read had at most ``max_age`` ns earlier."""
    last: dict[str, int] = {}
    before: pa.Table | None = None
    for one, images in dataset.batches("images", columns):
        last |= dict.fromkeys(one.read, one.collected_at)
        since = -math.inf if max_age is None else one.collected_at - max_age
        away = [node for node in last.keys() - set(one.read) if last[node] >= since]
        if away and before is not None:
            old = pc.is_in(before["node"].cast(pa.string()), pa.array(away, pa.string()))
            images = schema.ordered(pa.concat_tables([images, before.filter(old)]))
        before = images
        yield one, images


def _grouped(values: pa.Array, label: str | None) -> tuple[list[str], np.ndarray]:
    """The groups, and the number of each row's group (-1: none)."""
    words = values.dictionary.to_pylist()
    if label is not None:
        words = [json.loads(text).get(label) for text in words]
    groups = sorted({word for word in words if word is not None})
    place = {group: at for at, group in enumerate(groups)}
    return groups, np.array([*(place.get(word, NONE) for word in words), NONE])[plain_codes(values)]


def _deduplicated(images: pa.Table, codes: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of content and snapshots by group, each target digest once per node (content) or namespace (snapshots)."""
    node, namespace, digest = (plain_codes(images[name]) for name in ("node", "namespace", "digest"))
    totals = []
    for column, key in (
        ("content_present_size", (codes, node, digest)),
        ("unpacked_size", (codes, node, namespace, digest)),
    ):
        _, first = np.unique(np.stack(key), axis=1, return_index=True)
        first = first[codes[first] >= 0]
        totals.append(sums(numbers(images[column])[0][first], codes[first], groups))
    return totals[0], totals[1]
