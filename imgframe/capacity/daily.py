"""Bytes per collection over a long history, one file at a time: what fits no memory fits this."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.dataset import Dataset  # only the type: this room does not see that one

COLUMNS = ("digest", "content_present_size")


class DayBytes(NamedTuple):
    """Image records of one collection: how many, their bytes added up, and each target digest once, at its most [bytes]."""

    images: int
    total_bytes: int
    unique_bytes: int


def bytes_of(images: pa.Table) -> DayBytes:
    """What one collection's images (columns digest and content_present_size) take; the part of a partition.

    Example:
        >>> from imgframe import schema
        >>> table = schema.table("images", {"digest": ["a", "a", "b"], "content_present_size": [5, 5, 2]})
        >>> bytes_of(table)
        DayBytes(images=3, total_bytes=12, unique_bytes=7)
    """
    images = images.unify_dictionaries()
    largest = images.group_by("digest").aggregate(
        [("content_present_size", "max")]
    )  # nodes may hold less of it
    largest = largest.filter(pc.is_valid(largest["digest"]))
    sizes = images["content_present_size"], largest["content_present_size_max"]
    return DayBytes(images.num_rows, *(pc.sum(column, min_count=0).as_py() for column in sizes))


def daily(
    dataset: Dataset,
    run: Callable[[Callable[[Any], DayBytes], Iterable[Any]], Iterable[DayBytes]] | None = None,
) -> pd.DataFrame:
    """Per collection: collected_at (UTC), images, total_bytes (of all records) and unique_bytes (each target digest once).

    Digests are counted once over all nodes of a collection: what a registry would hold. ``run`` maps a function over the
    collections, by default on the threads of this machine; :func:`imgframe.scale.on_dask` gives one for a Dask cluster.

    Example:
        >>> import imgframe as imf, tempfile
        >>> from imgframe import schema
        >>> root = tempfile.mkdtemp() + "/history"
        >>> nodes = schema.table("nodes", {"node": ["a"], "collected_at": [10**18]})
        >>> images = schema.table("images", {"node": ["a"] * 2, "digest": ["d", "d"], "content_present_size": [5, 5]})
        >>> _ = imf.dataset.append(root, imf.Inventory({"nodes": nodes, "images": images}))
        >>> imf.capacity.daily(imf.open_dataset(root))[["images", "total_bytes", "unique_bytes"]].values.tolist()
        [[2, 10, 5]]
    """
    import pandas as pd

    parts = [dataset.only(one) for one in dataset.collections]
    made = list((run or _on_threads)(day_of, parts))
    frame = pd.DataFrame(made, columns=list(DayBytes._fields)).astype("Int64")
    times = pd.to_datetime([one.collected_at for one in dataset.collections], unit="ns", utc=True)
    frame.insert(0, "collected_at", pd.Series(times, dtype="datetime64[ns, UTC]"))
    return frame


def day_of(part: Dataset) -> DayBytes:
    """:func:`bytes_of` for a dataset of one collection, read here: what a worker does."""
    ((_, images),) = part.batches("images", COLUMNS)
    return bytes_of(images)


def _on_threads(work: Callable[[Any], DayBytes], parts: Iterable[Any]) -> list[DayBytes]:
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        return list(pool.map(work, parts))
