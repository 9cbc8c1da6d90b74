"""Pruning a dataset: old collections are deleted, except for what remaining ones refer to."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.dataset.append import locked
from imgframe.dataset.by_digest import (
    BY_DIGEST,
    known_digests,
    not_stored,
    of_digests,
    united,
    wanted_digests,
    words,
)
from imgframe.dataset.collections import PRUNED, Collection, Dataset, moment, open_dataset
from imgframe.dataset.parquet import FRESH, GONE, read_table, write_table
from imgframe.golang import time as gotime
from imgframe.inventory import human_bytes


@dataclass(frozen=True, slots=True)
class Pruned:
    """What :func:`prune` deleted, or would delete.

    ``removed``: the deleted collections, oldest first. ``carried``: older collections that stay, because they have the state of
    some node at the moment of the prune. ``bytes_freed``: bytes of the deleted files, less those by which other files grew.
    """

    removed: tuple[Collection, ...]
    carried: tuple[Collection, ...]
    bytes_freed: int

    def __repr__(self) -> str:
        return f"<Pruned: {len(self.removed)} collections, {human_bytes(self.bytes_freed)}; {len(self.carried)} older ones kept>"


def prune(path: str | os.PathLike[str], *, before: Any, dry_run: bool = False) -> Pruned:
    """Delete the collections of the dataset in the folder ``path`` that were made before a moment.

    From that moment on (and from the last collection before it) :meth:`Dataset.at` returns what it returned before. So the last
    collection by then that read a node stays, completely, even if it is the last one for only one of its nodes; so does the last
    failure since. What is stored with a deleted collection, but referred to by a remaining one, is moved there first. For
    earlier moments ``at`` raises an error that they were pruned. Growth, changes and last use begin with what remains;
    :func:`last_used` says since when it has observed each node without a gap.

    ``before``: a date (meaning its beginning), a datetime or pandas Timestamp, or RFC 3339 text. ``dry_run``: only report what
    would be deleted. Prunes and appends of other processes wait for each other. If a prune is interrupted at any step, by a signal
    or a full disk, the dataset stays consistent, and the same call completes the work. A dataset that was opened earlier raises a
    SchemaError when a table of a deleted collection is read.

    Raises:
        SchemaError: not a dataset, or written by a version with other tables.
        InputError: ``before`` is not a moment.
        OSError: the folder is read-only, the disk is full, or the file system has no locks.

    Example:
        >>> import imgframe as imf, tempfile
        >>> from imgframe import schema
        >>> root, day = tempfile.mkdtemp() + "/history", 86_400 * 10**9
        >>> for number in range(5):
        ...     nodes = schema.table("nodes", {"node": ["a"], "collected_at": [number * day]})
        ...     _ = imf.dataset.append(root, imf.Inventory({"nodes": nodes}))
        >>> [one.date for one in imf.dataset.prune(root, before="1970-01-04").removed]
        ['1970-01-01', '1970-01-02', '1970-01-03']
        >>> imf.open_dataset(root).dates
        ['1970-01-04', '1970-01-05']
    """
    root, limit = Path(path), moment(before)
    if dry_run:
        return _pruned(open_dataset(root), limit, dry_run=True)
    open_dataset(root)  # no lock file in a folder that is no dataset
    with locked(root, alone=True):
        for left in (*root.glob(f"{FRESH}*"), *root.glob(f"{GONE}*")):
            shutil.rmtree(left)  # with the exclusive lock: left by a killed process
        return _pruned(open_dataset(root), limit, dry_run=False)


def _pruned(dataset: Dataset, limit: int, *, dry_run: bool) -> Pruned:
    state = {one.path for last in dataset.last(limit) for one in last.values()}
    staying = [one for one in dataset.collections if one.collected_at >= limit or one.path in state]
    going = [one for one in dataset.collections if one.collected_at < limit and one.path not in state]
    freed = sum(file.stat().st_size for one in going for file in one.path.iterdir())
    for one, name, rows in _moving(going, staying):
        file = one.path / f"{name}.parquet"
        freed += file.stat().st_size
        better = words(rows[BY_DIGEST[name]])  # layers with chain IDs supersede those without
        others = of_digests(name, read_table(one.path, name), better, others=True)
        whole = schema.ordered(schema.concat(name, [others, rows]))
        if dry_run:
            write_table(sink := pa.BufferOutputStream(), name, whole)
            freed -= sink.getvalue().size
        else:
            with _fresh(dataset.path, file) as fresh:
                write_table(fresh, name, whole)
            freed -= file.stat().st_size
    if going and not dry_run:
        _record_prune(dataset, max(one.collected_at for one in staying if one.collected_at <= limit))
        for one in going:  # renamed first, so that no reader finds an incomplete one
            shutil.rmtree(one.path.rename(dataset.path / f"{GONE}{one.id}"))
            if not any(one.path.parent.iterdir()):
                one.path.parent.rmdir()
    return Pruned(tuple(going), tuple(one for one in staying if one.collected_at < limit), freed)


def _moving(
    going: Sequence[Collection], staying: Sequence[Collection]
) -> Iterator[tuple[Collection, str, pa.Table]]:
    """Rows of tables keyed by digest that only deleted collections hold, each with the first remaining one that refers to it."""
    wanted = {name: pa.array([], pa.string()) for name in BY_DIGEST}
    for one in staying if going else ():
        for name, digests in _wanted(one).items():
            wanted[name] = pc.unique(pa.concat_arrays([wanted[name], digests]))
    known = known_digests(one.path for one in staying)
    found = {}
    for name, digests in wanted.items():
        parts = (of_digests(name, read_table(one.path, name), digests) for one in going)
        found[name] = united(name, [not_stored(name, part, known) for part in parts])
    for one in staying:
        if not any(rows.num_rows for rows in found.values()):
            return
        for name, digests in _wanted(one).items():
            rows = of_digests(name, found[name], digests)
            if rows.num_rows:
                found[name] = of_digests(name, found[name], digests, others=True)
                yield one, name, rows


def _wanted(one: Collection) -> dict[str, pa.Array]:
    images, manifests = (
        read_table(one.path, name, columns=["digest", "config_digest", other])
        for name, other in (("images", "manifest_digest"), ("manifests", "parent_digest"))
    )
    return wanted_digests(images, manifests)


def _record_prune(dataset: Dataset, newest: int) -> None:
    """Record, before anything is deleted, since when the dataset is complete: ``newest`` is the last state before the moment."""
    before = max(newest, dataset.pruned_before or newest)
    with _fresh(dataset.path, dataset.path / PRUNED) as fresh:
        fresh.write_text(json.dumps({"before": gotime.format_time(before)}) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _fresh(root: Path, file: Path) -> Iterator[Path]:
    """A path to write to; what was written replaces ``file`` by one rename, and survives a power failure."""
    folder = Path(tempfile.mkdtemp(prefix=FRESH, dir=root))
    try:
        fresh = folder / file.name
        yield fresh
        _sync(fresh)
        fresh.rename(file)
        _sync(file.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
