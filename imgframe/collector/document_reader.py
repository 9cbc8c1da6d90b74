"""The documents of a collection: each digest is read once, from the first node that has it, for all nodes.

A document becomes a summary (:mod:`imgframe.collector.summaries`) and rows of ``documents``, ``configs``, ``history`` and
``layers``, which depend on its bytes alone. Both are cached, as one bundle per collection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable

import pyarrow as pa

from imgframe.collector import document_bundles
from imgframe.collector.batches import in_batches
from imgframe.collector.cache import Cache
from imgframe.collector.document_bundles import (
    DocumentSet,
    Key,
    NamespaceBundles,
    cache_namespaces,
    tables_of,
)
from imgframe.collector.progress import ProgressBars
from imgframe.collector.summaries import DocumentProblem, Summary, summarise
from imgframe.digests import matches
from imgframe.errors import DocumentError, WireError

MAX_DOCUMENT = 8 << 20
"""Larger documents are not read [bytes]; containerd and registries refuse them too."""

_STALL_SECONDS = 2.0
"""How long to wait for other nodes that read the same documents while none arrives [s]."""

Read = Callable[[str], Awaitable[bytes]]
"""Reads a blob by its digest; raises WireError, or DocumentError if it is too large."""

Failure = DocumentProblem | WireError


class DocumentReader:
    """Reads documents for all nodes of a collection."""

    def __init__(self, cache: Cache | None, progress: ProgressBars, batch_size: int) -> None:
        self._cache = cache
        self._progress = progress
        self._batch_size = batch_size
        self._documents = DocumentSet()
        self._reading: dict[str, asyncio.Future[None]] = {}
        self._namespaces: list[NamespaceBundles] = []

    def get(self, kind: str, digest: str) -> Summary | None:
        """The summary of a document read as ``kind`` (index, manifest or config); None if it has not been read."""
        key = (kind, digest)
        summary = self._documents.summaries.get(key)
        if summary is None:
            data = self._bytes(digest)
            if data is None:
                return None
            summary = self._documents.summaries[key] = summarise(kind, digest, data, self._documents.rows)
        for inline, content in summary.inline.items():
            self._documents.data.setdefault(inline, content)
        return summary

    def _bytes(self, digest: str) -> bytes | None:
        """The bytes, also of a document that a bundle has as another kind."""
        if digest in self._documents.data:
            return self._documents.data[digest]
        bundle = self._documents.where.get(digest)
        return None if bundle is None else bundle.read(digest)

    def has(self, digest: str) -> bool:
        """Whether the bytes have been read and verified."""
        return digest in self._documents.data or digest in self._documents.where

    def load(self, digests: Iterable[str]) -> None:
        """Loads documents from the cache."""
        if self._cache is None:
            return
        wanted = {digest for digest in digests if not self.has(digest)}
        if wanted:
            self._documents.add(document_bundles.load(self._cache, wanted))

    def load_namespace(self, store: str, namespace: str) -> None:
        """Loads the documents that a namespace had when it was last read, before its lists are known."""
        if self._cache is not None and store:
            loaded = {bundle.id for bundle in self._documents.bundles}
            self._documents.add(document_bundles.load_namespace(self._cache, store, namespace, loaded))

    async def fetch(self, wanted: dict[str, int], read: Read) -> dict[str, Failure]:
        """Reads documents (digest to size) that have not been read yet; returns the failures.

        Documents that another node is reading are awaited, and read here if they fail there or none arrives for a while.
        """
        self.load(wanted)
        missing = {digest: size for digest, size in wanted.items() if not self.has(digest)}
        theirs = {digest: self._reading[digest] for digest in missing if digest in self._reading}
        failures = await self._read_all({d: size for d, size in missing.items() if d not in theirs}, read)
        waiting = set(theirs.values())
        while waiting:
            arrived, waiting = await asyncio.wait(waiting, timeout=_STALL_SECONDS)
            if not arrived:
                break
        left = {digest: missing[digest] for digest in theirs if not self.has(digest)}
        return failures | await self._read_all(left, read)

    async def _read_all(self, wanted: dict[str, int], read: Read) -> dict[str, Failure]:
        mine = wanted.keys() - self._reading.keys()
        self._reading |= {digest: asyncio.get_running_loop().create_future() for digest in mine}
        self._progress.expect("documents", len(wanted))
        try:
            failures = await in_batches(
                self._batch_size, lambda pair: self._read(*pair, read), list(wanted.items())
            )
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
            self._documents.data[digest] = data
        except WireError as error:
            return error
        except DocumentError as error:
            return DocumentProblem("too_large", str(error))
        finally:
            self._progress.done("documents")
            self._arrived(digest)
        return None

    def _arrived(self, digest: str) -> None:
        """Wakes those who await the document, whether it could be read or not."""
        future = self._reading.pop(digest, None)
        if future is not None:
            future.set_result(None)

    def record(self, store: str, namespace: str, reached: Collection[Key]) -> None:
        """Records the documents that a namespace references, once its image list is stable."""
        self._documents.referenced.update(reached)
        self._namespaces.append(self._documents.bundles_of(store, namespace, reached))

    def tables(self) -> dict[str, pa.Table]:
        """The tables ``documents``, ``configs``, ``history`` and ``layers`` of all recorded documents; caches new ones."""
        tables = tables_of(self._cache, self._documents)
        if self._cache is not None:
            cache_namespaces(self._cache, self._documents, self._namespaces)
        return tables
