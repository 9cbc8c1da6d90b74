"""Appending a collection: its folder appears complete, by one rename, while no prune is running."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.dataset.by_digest import BY_DIGEST, known_digests, not_stored
from imgframe.dataset.parquet import FRESH, LOCK, ours, write_table
from imgframe.errors import InputError
from imgframe.inventory import Inventory


def append(path: str | os.PathLike[str], inventory: Inventory) -> Path:
    """Add one collection to the dataset in the folder ``path`` (created if needed), and return the collection's own folder.

    The same collection (same nodes, read at the same moments) is stored once, however often it is appended. Rows are sorted by
    node, dictionaries are compact, the compression is zstd. The folder of the collection appears complete, by one rename.
    Several processes may append at once; each waits while :func:`imgframe.dataset.prune` runs.

    Raises:
        InputError: the inventory has no node, or ``path`` is not a dataset.

    Example:
        >>> import imgframe as imf, tempfile
        >>> from imgframe import schema
        >>> inv = imf.Inventory({"nodes": schema.table("nodes", {"node": ["a"], "collected_at": [10**18]})})
        >>> folder = imf.dataset.append(tempfile.mkdtemp() + "/history", inv)
        >>> folder.parent.name
        'date=2001-09-09'
    """
    root = Path(path)
    nodes = inventory.arrow("nodes")
    if not nodes.num_rows:
        raise InputError("an inventory without nodes cannot be appended; collect at least one")
    if root.is_dir() and not any(root.glob("date=*")) and any(not ours(entry) for entry in root.iterdir()):
        raise InputError(f"{str(path)!r} is not a dataset; give the folder of a dataset, or a new one")
    times = nodes["collected_at"].cast("int64").to_pylist()
    keys = sorted(zip(nodes["node"].to_pylist(), times, strict=True), key=repr)
    identity = hashlib.sha256(repr(keys).encode()).hexdigest()[:16]
    newest = max((time for time in times if time is not None), default=None)
    if newest is None:
        raise InputError(
            "the inventory does not say when it was collected (nodes.collected_at); a history needs that"
        )
    date = dt.datetime.fromtimestamp(newest // 10**9, dt.UTC).date().isoformat()
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        return _put(root, root / f"date={date}" / f"collection={identity}", inventory)


def _put(root: Path, target: Path, inventory: Inventory) -> Path:
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=FRESH, dir=root))
    try:
        _write_collection(fresh, inventory, known_digests(root.glob("date=*/collection=*")))
        fresh.chmod(0o755)
        fresh.rename(target)
    except BaseException as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if not isinstance(error, OSError) or not target.is_dir():  # else another process has stored it
            raise
    return target


def _write_collection(folder: Path, inventory: Inventory, known: dict[str, pa.Array]) -> None:
    for name in schema.TABLES:
        if name == "labels":
            continue
        table = inventory.arrow(name)
        if name in BY_DIGEST and table.num_rows and len(known[name]):
            table = schema.ordered(not_stored(name, table, known))  # without the words of rows already stored
        if "node" in table.column_names and table.num_rows:
            # sorted words; a stable sort
            table = table.take(pc.sort_indices(table["node"].combine_chunks().indices))
        write_table(folder / f"{name}.parquet", name, table)


@contextlib.contextmanager
def locked(root: Path, *, alone: bool = False) -> Iterator[None]:
    """Hold the lock of the dataset, shared with other appends; ``alone``: exclusively. Waits until it is free.

    The lock ends with the process, however that ends. On a file system without locks appends proceed, a prune does not.

    Raises:
        OSError: the lock file cannot be created, or, with ``alone``, the file system has no locks.
    """
    flags = os.O_RDWR if alone else os.O_RDONLY  # over NFS an exclusive lock needs a file open for writing
    file = os.open(root / LOCK, flags | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        except OSError as error:
            if alone or error.errno not in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}:
                raise
        yield
    finally:
        os.close(file)
