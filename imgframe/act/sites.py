"""A node that is acted on: its client and what it says of itself, asked once."""

from __future__ import annotations

import asyncio

from imgframe import platforms
from imgframe.errors import InputError
from imgframe.wire import Client, layout
from imgframe.wire.records import Layout, labels_of

DEFAULT_SNAPSHOTTER = "overlayfs"
_DEFAULT_LABEL = "containerd.io/defaults/snapshotter"


class Site:
    """A node with an open client.

    Attributes:
        client: of the node.
        host: what the node runs; set by :meth:`open`.
        layout: of its store.
        heard: when containerd told last of a pull of its own, on the monotonic clock.
    """

    host: platforms.Platform
    layout: Layout

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard = 0.0
        self._defaults: dict[str, str] | None = None
        self._asking = asyncio.Lock()

    @classmethod
    async def open(cls, client: Client) -> Site:
        """The site of a client."""
        site = cls(client)
        site.layout = layout(await client.daemon.plugins())
        found = site.layout.platform
        site.host = platforms.normalize(
            platforms.Platform(found.os, found.architecture, found.variant)
            if found is not None
            else platforms.LINUX_AMD64
        )
        return site

    async def snapshotter(self, namespace: str, wanted: str) -> str:
        """The snapshotter that is meant: the given one, else the namespace's default, else overlayfs.

        Raises:
            InputError: the node has no such snapshotter.
        """
        name = wanted or await self._default(namespace)
        if name not in self.layout.snapshotters:
            raise InputError(
                f"{self.client.node.address} has no snapshotter {name!r}; it has {', '.join(self.layout.snapshotters) or 'none'}"
            )
        return name

    async def _default(self, namespace: str) -> str:
        async with self._asking:
            if self._defaults is None:
                spaces = await self.client.daemon.namespaces()
                self._defaults = {
                    space.name: labels_of(space.labels).get(_DEFAULT_LABEL, "") for space in spaces
                }
        return self._defaults.get(namespace) or DEFAULT_SNAPSHOTTER
