"""Who waits for whom while a plan is applied: a blob travels once per node, a document once for all nodes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgframe import oci
    from imgframe.upstream.sessions import UpstreamImage
    from imgframe.wire import Client

LAYERS = 8
"""Layers that travel to one node at a time."""

IMAGE_LAYERS = 3
"""Layers of one image that travel at a time: the first are unpacked while the others come."""

UNPACKS = 3
"""Layers that one node unpacks at a time."""

CACHE_BYTES = 64 << 20
"""Bytes of documents that are kept for the other nodes of a plan."""


class Locks:
    """Shared by all steps of one application; belongs to one event loop."""

    def __init__(self) -> None:
        self._locks: defaultdict[tuple[str, ...], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._layers: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(LAYERS))
        self._unpacks: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(UNPACKS))
        self.documents = DocumentCache()

    def blob(self, client: Client, digest: str) -> asyncio.Lock:
        """Held while a blob is brought to a node: who comes second finds it there."""
        return self._locks["blob", client.node.address, digest]

    def snapshot(self, client: Client, namespace: str, snapshotter: str, chain_id: str) -> asyncio.Lock:
        """Held while a snapshot is unpacked."""
        return self._locks["snapshot", client.node.address, namespace, snapshotter, chain_id]

    def upload(self, host: str, repository: str, digest: str) -> asyncio.Lock:
        """Held while a blob is sent to a repository."""
        return self._locks["upload", host, repository, digest]

    def layers(self, client: Client) -> asyncio.Semaphore:
        """Held by each layer that travels to a node."""
        return self._layers[client.node.address]

    def unpacks(self, client: Client) -> asyncio.Semaphore:
        """Held by each layer that a node unpacks."""
        return self._unpacks[client.node.address]


class DocumentCache:
    """Indexes, manifests and configs whose digest was verified, by digest."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._documents: dict[str, bytes] = {}
        self._size = 0

    def get(self, digest: str) -> bytes | None:
        """A document that some node or registry gave."""
        return self._documents.get(digest)

    def put(self, digest: str, data: bytes) -> None:
        """Keep a document while there is room."""
        if digest not in self._documents and self._size + len(data) <= CACHE_BYTES:
            self._size += len(data)
            self._documents[digest] = data

    async def fetch(self, image: UpstreamImage, wanted: oci.Descriptor) -> tuple[bytes, int]:
        """A document of the registry, requested once for all nodes, and the bytes that this call received."""
        async with self._locks[wanted.digest]:
            data = self.get(wanted.digest)
            if data is not None:
                return data, 0
            data = await (await image.remote()).document(wanted)
            self.put(wanted.digest, data)
            return data, len(data)
