"""Collection of nodes into an Inventory: everything that containerd holds, on one node or on thousands.

All lists of a node are read concurrently; each document is read once per digest and cached; a node that fails loses only its
own rows. Nothing is written to a node.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from typing import Any, get_args

from imgframe import _loop
from imgframe.collector.batches import size_per_node
from imgframe.collector.cache import Cache, open_cache
from imgframe.collector.computed_columns import assemble
from imgframe.collector.document_reader import DocumentReader
from imgframe.collector.gc_threshold import infrequent_gc
from imgframe.collector.nodes import CollectOptions, NodeReader
from imgframe.collector.progress import ProgressBars
from imgframe.collector.snapshot_usage import Usage
from imgframe.collector.table_builder import TableBuilder
from imgframe.errors import InputError
from imgframe.inventory import Inventory
from imgframe.node import Node, nodes_of

__all__ = ["acollect", "collect"]

NODES_AT_ONCE = 64
"""Nodes that are read at the same time, each over one connection."""

_NAMESPACE = re.compile(r"[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*")


def collect(
    nodes: Any = None,
    *,
    namespaces: str | Iterable[str] | None = None,
    snapshotters: str | Iterable[str] | None = None,
    usage: Usage = "committed",
    cache: bool | str | os.PathLike[str] = True,
    progress: bool | None = None,
    timeout: float = 60.0,
) -> Inventory:
    """The inventory of one or many nodes: every table of :data:`imgframe.schema.TABLES`.

    It can be called in scripts and in a running notebook; an interrupt stops it and leaves nothing running.

    Args:
        nodes: a path or ``unix://`` address, a :class:`~imgframe.Node`, a dict, or several of these; None: the address in
            CONTAINERD_ADDRESS, or every well-known socket of this machine.
        namespaces: to read; None: those of the Node, or all. One that a node does not have is a row of ``errors``.
        snapshotters: to read; None: all that the node can use.
        usage: snapshots to read the size of: ``none``, ``committed`` (containerd knows it), or ``all`` (containerd walks
            the directory of each active one: slow, with load on the node).
        cache: whether to cache documents and usages, in the user's cache directory or the given file, which may be deleted
            at any time.
        progress: whether to draw progress bars; None: on a terminal and in notebooks.
        timeout: deadline of each call to a node [s].

    With ``IMGFRAME_READ_FILES=1`` in the environment, documents are read as files if containerd's folder is on this machine
    and readable: the same tables in less time.

    Whatever cannot be read is a row of ``errors`` and shows in the ``status`` of its node: ``failed`` if nothing could be read.

    Raises:
        InputError: an argument is invalid. (NodeError: the address names no node.)

    Example:
        >>> import imgframe as imf
        >>> inv = imf.collect("/nonexistent.sock", cache=False)
        >>> inv.nodes.status.tolist(), inv.errors.stage.tolist(), len(inv.images)
        (['failed'], ['connect'], 0)
    """
    options = _options(namespaces, snapshotters, usage, timeout)
    return _loop.run(_collect(nodes_of(nodes), options, open_cache(cache), ProgressBars(progress)))


async def acollect(
    nodes: Any = None,
    *,
    namespaces: str | Iterable[str] | None = None,
    snapshotters: str | Iterable[str] | None = None,
    usage: Usage = "committed",
    cache: bool | str | os.PathLike[str] = True,
    progress: bool | None = None,
    timeout: float = 60.0,
) -> Inventory:
    """The awaitable twin of :func:`collect`, with the same arguments.

    Example:
        >>> import asyncio, imgframe as imf
        >>> len(asyncio.run(imf.acollect("/nonexistent.sock", cache=False)).errors)
        1
    """
    options = _options(namespaces, snapshotters, usage, timeout)
    return await _loop.arun(_collect(nodes_of(nodes), options, open_cache(cache), ProgressBars(progress)))


def _options(
    namespaces: str | Iterable[str] | None,
    snapshotters: str | Iterable[str] | None,
    usage: Usage,
    timeout: float,
) -> CollectOptions:
    if usage not in get_args(Usage):
        raise InputError(f"usage {usage!r} is not known; expected 'none', 'committed' or 'all'")
    if not timeout > 0:
        raise InputError(f"timeout {timeout!r} is not a time; expected seconds above 0")
    wanted = _names(namespaces)
    if wanted == ():
        raise InputError("namespaces is empty; expected at least one namespace, or None for all")
    for name in wanted or ():
        if not _NAMESPACE.fullmatch(name):
            raise InputError(
                f"{name!r} is not a namespace; expected letters and digits, with single . _ - between them"
            )
    read_files = os.environ.get("IMGFRAME_READ_FILES", "") not in {"", "0"}
    return CollectOptions(wanted, _names(snapshotters), usage, timeout, read_files)


def _names(given: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    return (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))


async def _collect(
    nodes: tuple[Node, ...], options: CollectOptions, cache: Cache | None, progress: ProgressBars
) -> Inventory:
    try:
        with infrequent_gc():  # until everything but the tables has been freed
            return await _tables(nodes, options, cache, progress)
    finally:
        progress.close()
        if cache is not None:
            cache.close()


async def _tables(
    nodes: tuple[Node, ...], options: CollectOptions, cache: Cache | None, progress: ProgressBars
) -> Inventory:
    batch_size = size_per_node(min(len(nodes), NODES_AT_ONCE))
    documents = DocumentReader(cache, progress, batch_size)
    rows, done, turn = TableBuilder(), {}, 0
    slots = asyncio.Semaphore(NODES_AT_ONCE)
    progress.expect("nodes", len(nodes))

    async def read(place: int, node: Node) -> None:
        nonlocal turn
        async with slots:
            reader = NodeReader(node, options, documents, cache, progress, batch_size, len(nodes) == 1)
            done[place] = await reader.read()
        progress.done("nodes")
        while turn in done:  # rows are in the order of the nodes
            rows.extend(done.pop(turn))
            turn += 1

    async with asyncio.TaskGroup() as group:
        for place, node in enumerate(nodes):
            group.create_task(read(place, node))
    return assemble({**documents.tables(), **rows.tables()})
