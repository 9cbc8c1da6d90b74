"""Who waits for whom while a plan is applied: one blob travels once per node, a document once for all nodes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgframe import oci
    from imgframe.act.fetching import Remote
    from imgframe.wire import Client

LAYERS = 8
"""Layers that travel to one node at a time."""

OF_ONE = 3
"""Layers of one image that travel at a time: the first are unpacked while the others come."""

UNPACKS = 3
"""Layers that one node unpacks at a time."""

CACHE = 64 << 20
"""Bytes of documents that are kept for the other nodes of a plan."""


class Lines:
    """Shared by all steps of one application of a plan; belongs to one event loop."""

    def __init__(self) -> None:
        self._locks: defaultdict[tuple[str, ...], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._layers: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(LAYERS))
        self._unpacks: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(UNPACKS))
        self._documents: dict[str, bytes] = {}
        self._held = 0

    def blob(self, client: Client, digest: str) -> asyncio.Lock:
        """Held while a blob is brought to a node: who comes second finds it there."""
        return self._locks["blob", client.node.address, digest]

    def chain(self, client: Client, namespace: str, snapshotter: str, chain_id: str) -> asyncio.Lock:
        """Held while a snapshot is unpacked."""
        return self._locks["chain", client.node.address, namespace, snapshotter, chain_id]

    def upload(self, host: str, repository: str, digest: str) -> asyncio.Lock:
        """Held while a blob is sent to a repository."""
        return self._locks["upload", host, repository, digest]

    def layers(self, client: Client) -> asyncio.Semaphore:
        """Held by each layer that travels to a node."""
        return self._layers[client.node.address]

    def unpacks(self, client: Client) -> asyncio.Semaphore:
        """Held by each layer that a node unpacks."""
        return self._unpacks[client.node.address]

    def known(self, digest: str) -> bytes | None:
        """A document that some node or registry gave; its digest was verified."""
        return self._documents.get(digest)

    def remember(self, digest: str, data: bytes) -> None:
        """Keeps a document whose digest was verified for the other nodes."""
        if digest not in self._documents and self._held + len(data) <= CACHE:
            self._held += len(data)
            self._documents[digest] = data

    async def document(self, remote: Remote, wanted: oci.Descriptor) -> tuple[bytes, int]:
        """A document of the registry, asked for once whatever the number of nodes, and the bytes that travelled now."""
        async with self._locks["document", wanted.digest]:
            data = self.known(wanted.digest)
            if data is not None:
                return data, 0
            data = await remote.document(wanted)
            self.remember(wanted.digest, data)
            return data, len(data)
