"""The documents of one collection: each digest is read once, from whichever node has it first, and kept for all.

A document is known by its summary (:mod:`imgframe.collector.summaries`) and by its rows in the tables ``documents``,
``configs``, ``history`` and ``layers``, which depend on nothing but its bytes. Both are remembered in the cache as one
bundle per collection, ready to use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable

import pyarrow as pa

from imgframe.collector.batches import in_waves
from imgframe.collector.cache import Cache
from imgframe.collector.document_bundles import (
    DocumentSet,
    Key,
    NamespaceBundles,
    finish,
    load,
    load_home,
    remember_homes,
)
from imgframe.collector.progress import ProgressBars
from imgframe.collector.summaries import DocumentProblem, Summary, summarise
from imgframe.digests import matches
from imgframe.errors import DocumentError, WireError

MAX_DOCUMENT = 8 << 20
"""Larger manifests and configs are refused [bytes], as containerd and the registries do."""

_PATIENCE = 2.0
"""How long to wait for other nodes that are reading the same documents while none arrives [s]."""

Read = Callable[[str], Awaitable[bytes]]
"""Reads a blob by its digest; raises WireError, or DocumentError where it is too large."""

Failure = DocumentProblem | WireError


class DocumentReader:
    """What is known of documents, shared by all nodes of a collection."""

    def __init__(self, cache: Cache | None, progress: ProgressBars, wave: int) -> None:
        self._cache = cache
        self._progress = progress
        self._wave = wave
        self._shelf = DocumentSet()
        self._reading: dict[str, asyncio.Future[None]] = {}
        self._homes: list[NamespaceBundles] = []

    def get(self, kind: str, digest: str) -> Summary | None:
        """What the document says when read as ``kind`` (index, manifest or config); None where it was not read yet."""
        key = (kind, digest)
        summary = self._shelf.summaries.get(key)
        if summary is None:
            data = self._bytes(digest)
            if data is None:
                return None
            summary = self._shelf.summaries[key] = summarise(kind, digest, data, self._shelf.rows)
        for inline, content in summary.inline.items():
            self._shelf.data.setdefault(inline, content)
        return summary

    def _bytes(self, digest: str) -> bytes | None:
        """The bytes, also of a document that a bundle holds as another kind."""
        if digest in self._shelf.data:
            return self._shelf.data[digest]
        bundle = self._shelf.where.get(digest)
        return None if bundle is None else bundle.read(digest)

    def has(self, digest: str) -> bool:
        """Whether the bytes were read and verified."""
        return digest in self._shelf.data or digest in self._shelf.where

    def recall(self, digests: Iterable[str]) -> None:
        """Take from the cache what it knows of these."""
        if self._cache is None:
            return
        wanted = {digest for digest in digests if not self.has(digest)}
        if wanted:
            self._shelf.add(load(self._cache, wanted))

    def expect(self, store: str, namespace: str) -> None:
        """Take from the cache what the namespace had when it was read last: its lists are not needed for that."""
        if self._cache is not None and store:
            loaded = {bundle.id for bundle in self._shelf.bundles}
            self._shelf.add(load_home(self._cache, store, namespace, loaded))

    async def fetch(self, wanted: dict[str, int], read: Read) -> dict[str, Failure]:
        """Read the documents ``wanted`` (digest to size) that nobody has read yet; gives those that failed, and why.

        What another node is reading comes from there, unless nothing comes for a while, or it cannot be read there.
        """
        self.recall(wanted)
        missing = {digest: size for digest, size in wanted.items() if not self.has(digest)}
        theirs = {digest: self._reading[digest] for digest in missing if digest in self._reading}
        failures = await self._read_all({d: size for d, size in missing.items() if d not in theirs}, read)
        waiting = set(theirs.values())
        while waiting:
            arrived, waiting = await asyncio.wait(waiting, timeout=_PATIENCE)
            if not arrived:
                break
        left = {digest: missing[digest] for digest in theirs if not self.has(digest)}
        return failures | await self._read_all(left, read)

    async def _read_all(self, wanted: dict[str, int], read: Read) -> dict[str, Failure]:
        mine = wanted.keys() - self._reading.keys()
        self._reading |= {digest: asyncio.get_running_loop().create_future() for digest in mine}
        self._progress.expect("documents", len(wanted))
        try:
            failures = await in_waves(self._wave, lambda pair: self._read(*pair, read), list(wanted.items()))
        finally:
            for digest in mine:
                self._arrived(digest)
        return {digest: why for digest, why in zip(wanted, failures, strict=True) if why is not None}

    async def _read(self, digest: str, size: int, read: Read) -> Failure | None:
        try:
            if size > MAX_DOCUMENT:
                return DocumentProblem(
                    "too_large", f"{digest} has {size:,} bytes; documents over 8 MiB are not read"
                )
            data = await read(digest)
            if not matches(data, digest):
                return DocumentProblem(
                    "wrong_digest", f"the {len(data):,} bytes stored as {digest} have another digest"
                )
            self._shelf.data[digest] = data
        except WireError as error:
            return error
        except DocumentError as error:
            return DocumentProblem("too_large", str(error))
        finally:
            self._progress.done("documents")
            self._arrived(digest)
        return None

    def _arrived(self, digest: str) -> None:
        """Wake those who wait for the document, whether it could be read or not."""
        future = self._reading.pop(digest, None)
        if future is not None:
            future.set_result(None)

    def settle(self, store: str, namespace: str, reached: Collection[Key]) -> None:
        """Take down what a namespace reached, now that it stood still: these documents are in the inventory."""
        self._shelf.used.update(reached)
        self._homes.append(self._shelf.home(store, namespace, reached))

    def tables(self) -> dict[str, pa.Table]:
        """The tables ``documents``, ``configs``, ``history`` and ``layers`` of all documents that were used.

        What is new goes into the cache.
        """
        tables = finish(self._cache, self._shelf)
        if self._cache is not None:
            remember_homes(self._cache, self._shelf, self._homes)
        return tables
