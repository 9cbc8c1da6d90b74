"""Who waits for whom while a plan is applied: one blob travels once per node, a document once for all nodes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgframe import oci
    from imgframe.act.fetching import Remote
    from imgframe.wire import Client

LAYERS = 6
"""Layers that travel to one node at a time."""

UNPACKS = 3
"""Layers that one node unpacks at a time."""

TRAVELLING = 48
"""Layers that travel at a time to all nodes together."""

CACHE = 64 << 20
"""Bytes of documents that are kept for the other nodes of a plan."""


class Lines:
    """Shared by all steps of one application of a plan; belongs to one event loop."""

    def __init__(self) -> None:
        self._locks: defaultdict[tuple[str, ...], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._layers: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(LAYERS))
        self._unpacks: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(UNPACKS))
        self.travelling = asyncio.Semaphore(TRAVELLING)
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

    async def document(self, remote: Remote, wanted: oci.Descriptor) -> bytes:
        """A document of the registry, asked for once whatever the number of nodes; its digest is verified."""
        async with self._locks["document", wanted.digest]:
            data = self._documents.get(wanted.digest)
            if data is None:
                data = await remote.document(wanted)
                if self._held + len(data) <= CACHE:
                    self._held += len(data)
                    self._documents[wanted.digest] = data
            return data
