"""The client of one node's containerd."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from imgframe.errors import TimedOut, Unreachable, WireError
from imgframe.node import Node
from imgframe.wire.channel import Channel
from imgframe.wire.content import ContentClient
from imgframe.wire.daemon import DaemonClient
from imgframe.wire.events import EventsClient
from imgframe.wire.images import ImagesClient
from imgframe.wire.leases import LeasesClient
from imgframe.wire.records import Damage, Version
from imgframe.wire.snapshots import SnapshotsClient
from imgframe.wire.socket import probe
from imgframe.wire.transfer import TransferClient

FIRST_ANSWER = 5.0
"""How long a socket may take to show that it speaks gRPC [s]."""


class Client:
    """containerd on one node; ``async with`` connects to it, or raises an error of one sentence.

    Every call has a deadline; reads are retried when the connection breaks, writes never are. Errors are
    :class:`~imgframe.errors.WireError` and name the address and the call.

    Attributes:
        daemon: version, server, plugins, namespaces, containers, tasks and sandboxes.
        images: image records.
        content: blobs: their bytes, labels and writes.
        snapshots: snapshots, their usage, and unpacking into them.
        leases: leases and their resources.
        transfer: pull and push by containerd itself (1.7 and later).
        events: changes on the node, as they happen.
        opened: version of the daemon at the time of connecting.

    Args:
        node: a Node, a path, a ``unix://`` address or a dict.
        timeout: deadline of each call [s].

    Example:
        >>> import asyncio
        >>> async def version():
        ...     async with Client("/nonexistent/containerd.sock") as client:
        ...         return client.opened.version
        >>> asyncio.run(version())
        Traceback (most recent call last):
        ...
        imgframe.errors.Unreachable: /nonexistent/containerd.sock: no such socket; is containerd running, and is this its address? (CONTAINERD_ADDRESS, --address)
    """

    opened: Version

    def __init__(self, node: object, *, timeout: float = 60.0) -> None:
        self.node = Node.of(node)
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        first = min(self._timeout, FIRST_ANSWER)
        await probe(self.node.path, first)
        self._channel = channel = Channel(self.node.path, self.node.address, self._timeout)
        self.daemon, self.images = DaemonClient(channel), ImagesClient(channel)
        self.content, self.snapshots = ContentClient(channel), SnapshotsClient(channel)
        self.leases, self.transfer = LeasesClient(channel), TransferClient(channel)
        self.events = EventsClient(channel)
        try:
            self.opened = await self.daemon.version()
        except (TimedOut, Unreachable):
            await channel.close()
            raise
        except WireError as error:
            await channel.close()
            raise Unreachable(
                f"{self.node.path}: this is not a containerd gRPC socket: {error}",
                address=self.node.address,
                call=error.call,
                code=error.code,
            ) from error
        except asyncio.CancelledError:
            await channel.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    @property
    def rpcs(self) -> int:
        """Calls made so far."""
        return self._channel.rpcs

    def take_damages(self) -> list[Damage]:
        """Records that were repaired or could not be read since the last call of this method."""
        damages, self._channel.damages = self._channel.damages, []
        return damages
