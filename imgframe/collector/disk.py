"""Disk usage of the stores on this machine, measured independently of containerd."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from imgframe.collector.local_store import is_store
from imgframe.collector.progress import ProgressBars
from imgframe.inventory import Inventory

_CONTENT = "io.containerd.content.v1.content"
_SNAPSHOTTER = "io.containerd.snapshotter.v1."
_BLOCK = 512  # the unit of st_blocks on every file system [bytes]
_VOLUMES = {"btrfs", "devmapper", "zfs"}  # they keep volumes, not folders


class Measured(NamedTuple):
    """Bytes on disk per node, and the reason for each node that was not measured."""

    sizes: dict[str, int]
    reasons: dict[str, str]


def measured_bytes(inventory: Inventory) -> dict[str, int]:
    """The sizes of :func:`measure`, for the row ``unaccounted`` of :func:`imgframe.reclaiming.breakdown`.

    Example:
        >>> import imgframe as imf
        >>> from imgframe.collector.disk import measured_bytes
        >>> measured_bytes(imf.Inventory({}))
        {}
    """
    return measure(inventory).sizes


def measure(inventory: Inventory, *, progress: bool | None = False) -> Measured:
    """Bytes of content and snapshots of each node whose store is on this machine and readable.

    As containerd counts them, blobs and unfinished writes have their lengths, snapshots their allocated blocks (hard links
    once). Every file of every snapshot is visited, also of snapshotters that are not in the inventory, which takes about a
    second per 200,000 files and needs permission to read them. Measure soon after collecting with ``usage="all"``: writes
    and deletions in between, and active snapshots of unknown size, become unaccounted. A node is not measured, with a reason,
    if it is not on this machine, if the folder belongs to another store (a forwarded socket), if it may not be read, or if a
    snapshotter keeps volumes instead of folders. ``progress=None`` draws a bar on a terminal and in notebooks.

    Example:
        >>> import imgframe as imf
        >>> from imgframe import schema
        >>> from imgframe.collector.disk import measure
        >>> nodes = {"node": ["far"], "address": ["unix:///tmp/far.sock"], "root": ["/srv/far/containerd"]}
        >>> measure(imf.Inventory({"nodes": schema.table("nodes", nodes)})).reasons
        {'far': '/srv/far/containerd is not on this machine'}
    """
    kept = inventory.arrow("snapshots").group_by(["node", "snapshotter"]).aggregate([]).to_pylist()
    bar = ProgressBars(progress)
    found = Measured({}, {})
    try:
        for row in inventory.arrow("nodes").select(["node", "address", "root", "store_uuid"]).to_pylist():
            kinds = {pair["snapshotter"] for pair in kept if pair["node"] == row["node"]}
            reason = _reason(row["address"] or "", row["root"] or "", row["store_uuid"] or "", kinds)
            try:
                if not reason:
                    root = Path(row["root"])
                    found.sizes[row["node"]] = _content(root / _CONTENT) + _snapshots(root, bar)
            except PermissionError as error:
                reason = f"{error.filename} may not be read"
            if reason:
                found.reasons[row["node"]] = reason
    finally:
        bar.close()
    return found


def _reason(address: str, root: str, uuid: str, snapshotters: set[str]) -> str:
    """Why a node cannot be measured; empty if it can."""
    if not address.startswith(("unix:", "/")):
        return "not on this machine"
    if not root:
        return "containerd does not say where its root is"
    for folder in (Path(root), Path(root, _CONTENT, "blobs")):
        if not os.access(folder, os.R_OK | os.X_OK):
            return f"{folder} is not on this machine" if _absent(folder) else f"{folder} may not be read"
    if not is_store(root, uuid):
        return f"{root} on this machine is not known to be its store"
    for name in sorted(snapshotters):
        if name in _VOLUMES or not Path(root, _SNAPSHOTTER + name).is_dir():
            return f"the snapshotter {name} keeps no folders under {root}"
    return ""


def _absent(folder: Path) -> bool:
    try:
        folder.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _content(root: Path) -> int:
    blobs = (entry for kind in _entries(root / "blobs") for entry in _entries(Path(kind.path)))
    writes = (
        entry
        for folder in _entries(root / "ingest")
        for entry in _entries(Path(folder.path))
        if entry.name == "data"
    )
    return sum(_length(entry) for part in (blobs, writes) for entry in part)


def _length(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # committed or collected meanwhile
        return 0


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return


def _snapshots(root: Path, bar: ProgressBars) -> int:
    total = 0
    for plugin in _entries(root):
        if not plugin.name.startswith(_SNAPSHOTTER):
            continue
        folders = list(_entries(Path(plugin.path) / "snapshots"))
        bar.expect("folders", len(folders))
        for snapshot in folders:
            top = Path(snapshot.path)
            total += _blocks(top / "fs" if (top / "fs").is_dir() and (top / "work").exists() else top)
            bar.done("folders")
    return total


def _blocks(top: Path) -> int:
    """Allocated bytes of a tree including its folders; hard links count once."""
    try:
        total = top.lstat().st_blocks * _BLOCK
    except FileNotFoundError:
        return 0
    seen: set[tuple[int, int]] = set()
    todo = [top] if top.is_dir() and not top.is_symlink() else []
    while todo:
        for entry in _entries(todo.pop()):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # removed meanwhile
                continue
            if entry.is_dir(follow_symlinks=False):
                todo.append(Path(entry.path))
            elif status.st_nlink > 1:
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * _BLOCK
    return total
