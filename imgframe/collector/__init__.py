"""Read nodes into tables: everything that containerd holds, from one node or thousands at once.

Each node is asked for its lists, all at once; documents are read once per digest and remembered; a node that fails costs
its own rows only. Nothing is written to a node.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from typing import Any, get_args

from imgframe import _loop
from imgframe.collector.batches import wave_size
from imgframe.collector.cache import Cache, open_cache
from imgframe.collector.computed_columns import assemble
from imgframe.collector.document_reader import DocumentReader
from imgframe.collector.gc_threshold import rare_collections
from imgframe.collector.nodes import CollectOptions, NodeReader
from imgframe.collector.progress import ProgressBars
from imgframe.collector.snapshot_usage import Usage
from imgframe.collector.table_builder import TableBuilder
from imgframe.errors import InputError
from imgframe.inventory import Inventory
from imgframe.node import Node, nodes_of

__all__ = ["acollect", "collect"]

NODES_AT_ONCE = 64
"""Nodes that are read at the same time; each has one connection."""

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

    Works in scripts and inside a running notebook alike; an interrupt stops it and leaves nothing behind.

    Args:
        nodes: a path or ``unix://`` address, a :class:`~imgframe.Node`, a dict, or several of these; None: the address in
            CONTAINERD_ADDRESS, else every usual socket of this machine.
        namespaces: which to read; None: those of the Node, else all. One that a node does not have is a row of ``errors``.
        snapshotters: which to read; None: all that the node can use.
        usage: bytes of which snapshots to ask for: ``none``, ``committed`` (containerd knows them), or ``all`` (containerd
            walks the directory of each active one: slow, and work for the node).
        cache: whether documents and usages are remembered between collections, in the user's cache directory or the
            file given. The file may be deleted at any time.
        progress: whether to draw bars; None: on a terminal and in notebooks.
        timeout: deadline of each call to a node [s].

    With ``IMGFRAME_READ_FILES=1`` in the environment documents are read as files where containerd's folder is on this
    machine and readable: the same tables, sooner.

    What cannot be read is a row of ``errors`` and the ``status`` of its node: ``failed`` where nothing could be read.

    Raises:
        InputError: an argument cannot be used. (NodeError: no such node can be meant.)

    Example:
        >>> import imgframe as imf
        >>> inv = imf.collect("/nonexistent.sock", cache=False)
        >>> inv.nodes.status.tolist(), inv.errors.stage.tolist(), len(inv.images)
        (['failed'], ['connect'], 0)
    """
    return _loop.run(
        _collect(
            nodes_of(nodes),
            _wanted(namespaces, snapshotters, usage, timeout),
            open_cache(cache),
            ProgressBars(progress),
        )
    )


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
    return await _loop.arun(
        _collect(
            nodes_of(nodes),
            _wanted(namespaces, snapshotters, usage, timeout),
            open_cache(cache),
            ProgressBars(progress),
        )
    )


def _wanted(
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
    nodes: tuple[Node, ...], wanted: CollectOptions, cache: Cache | None, progress: ProgressBars
) -> Inventory:
    try:
        with (
            rare_collections()
        ):  # until all but the tables is gone, or the first look would go through everything
            return await _tables(nodes, wanted, cache, progress)
    finally:
        progress.close()
        if cache is not None:
            cache.close()


async def _tables(
    nodes: tuple[Node, ...], wanted: CollectOptions, cache: Cache | None, progress: ProgressBars
) -> Inventory:
    wave = wave_size(min(len(nodes), NODES_AT_ONCE))
    library = DocumentReader(cache, progress, wave)
    rows, done, turn = TableBuilder(), {}, 0
    slots = asyncio.Semaphore(NODES_AT_ONCE)
    progress.expect("nodes", len(nodes))

    async def read(place: int, node: Node) -> None:
        nonlocal turn
        async with slots:
            reader = NodeReader(node, wanted, library, cache, progress, wave, alone=len(nodes) == 1)
            done[place] = await reader.read()
        progress.done("nodes")
        while turn in done:  # rows stand in the order of the nodes, whoever is first
            rows.extend(done.pop(turn))
            turn += 1

    async with asyncio.TaskGroup() as group:
        for place, node in enumerate(nodes):
            group.create_task(read(place, node))
    return assemble({**library.tables(), **rows.tables()})
