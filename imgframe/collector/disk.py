"""What the stores of this machine take on disk: the second opinion beside what containerd reports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from imgframe.inventory import Inventory

_CONTENT = "io.containerd.content.v1.content"
_SNAPSHOTTER = "io.containerd.snapshotter.v1."
_BLOCK = 512  # what st_blocks counts, whatever the file system's own block is


def measured_bytes(inventory: Inventory) -> dict[str, int]:
    """What content and snapshots of each node take on disk, for nodes whose store is on this machine and readable.

    Blobs and unfinished writes count with their lengths, snapshots with their allocated blocks (hard links once): the ways
    in which containerd counts them. Folders of all snapshotters are walked, also of those that the inventory does not
    know, which takes time and the rights to read them; nodes of other machines are left out. For
    :func:`imgframe.reclaiming.breakdown`, whose row ``unaccounted`` is what this finds beyond the tables.

    Example:
        >>> import imgframe as imf
        >>> from imgframe.collector.disk import measured_bytes
        >>> measured_bytes(imf.Inventory({}))
        {}
    """
    nodes = inventory.arrow("nodes").select(["node", "address", "root"]).to_pylist()
    found = {}
    for row in nodes:
        local = (row["address"] or "").startswith(("unix:", "/"))
        if local and row["root"] and _readable(root := Path(row["root"])):
            found[row["node"]] = _content(root / _CONTENT) + _snapshots(root)
    return found


def _readable(root: Path) -> bool:
    return os.access(root, os.R_OK | os.X_OK) and os.access(root / _CONTENT / "blobs", os.R_OK | os.X_OK)


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


def _snapshots(root: Path) -> int:
    total = 0
    for plugin in _entries(root):
        if not plugin.name.startswith(_SNAPSHOTTER):
            continue
        for snapshot in _entries(Path(plugin.path) / "snapshots"):
            top = Path(snapshot.path)
            total += _blocks(top / "fs" if (top / "fs").is_dir() and (top / "work").exists() else top)
    return total


def _blocks(top: Path) -> int:
    """Allocated bytes of a tree, the folders themselves too; a file with several names once."""
    seen: set[tuple[int, int]] = set()
    total, todo = 0, [top]
    while todo:
        at = todo.pop()
        try:
            status = at.lstat()
        except FileNotFoundError:
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        total += status.st_blocks * _BLOCK
        if at.is_dir() and not at.is_symlink():
            todo += [Path(entry.path) for entry in _entries(at)]
    return total
