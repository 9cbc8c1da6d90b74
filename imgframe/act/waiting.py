"""Waiting for containerd's own pulls and pushes: its client of registries has no deadline, and what it leaves goes a little later."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from imgframe.act.deleting import collect_garbage
from imgframe.act.leasing import finished
from imgframe.act.sites import Site
from imgframe.errors import RegistryError, WireError
from imgframe.wire import records as wire

if TYPE_CHECKING:
    from imgframe.act.remotes import RegistryImage

_ENDS = frozenset(["complete", "already exists", "extracted"])
_SWEEPS = 6
"""How often the garbage collector is run after a failed pull until its unfinished writes are gone; 3 s in all."""


class Silent(RegistryError):  # noqa: N818 -- caught by name where it matters
    """containerd waits for a registry that sends nothing, and would wait for ever."""


class Watch:
    """Watches one pull or push that containerd does by itself.

    Args:
        site: the node.
        namespace: that is pulled into, or pushed from.
        told: is told every step too.
    """

    def __init__(self, site: Site, namespace: str, told: Callable[[wire.TransferProgress], None]) -> None:
        self._site, self._namespace, self._told = site, namespace, told
        self._ended: dict[str, bool] = {}
        self._heard = site.heard = time.monotonic()

    def step(self, step: wire.TransferProgress) -> None:
        """One thing that containerd tells."""
        self._heard = self._site.heard = time.monotonic()
        if ":" in step.name.partition("-")[2]:  # a blob, by the name of its write
            self._ended[step.name] = step.event in _ENDS or self._ended.get(step.name, False)
        self._told(step)

    @property
    def _unfinished(self) -> set[str]:
        return {name for name, ended in self._ended.items() if not ended}

    @property
    def _silence(self) -> float:
        """Seconds for which it has waited for its registry; 0 where containerd unpacks, of which it tells nothing.

        containerd fetches a few blobs of all its pulls at a time: while any of ours moves on, the others wait for their turn.
        """
        if self._ended and not self._unfinished:
            return 0.0
        return time.monotonic() - (self._site.heard if self._ended else self._heard)

    async def over(self, remote: RegistryImage, work: Coroutine[Any, Any, None]) -> None:
        """The pull or push; after a failure nothing is left of it.

        Raises:
            Silent: the registry sent nothing for ``remote.timeout`` seconds.
        """
        try:
            await self._unless_silent(remote, work)
        except BaseException:
            with contextlib.suppress(WireError):  # the failure itself is what counts
                await finished(self._sweep())
            raise

    async def _unless_silent(self, remote: RegistryImage, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait([task], timeout=remote.timeout / 4))[0]:
                if self._silence >= remote.timeout:
                    raise Silent(
                        f"{remote.host} sent or took nothing of containerd for {remote.timeout:g} s; see whether the registry is up, "
                        "and try again, with a longer registry_timeout= if it is slow",
                        reference=remote.reference,
                        host=remote.host,
                    )
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _sweep(self) -> None:
        """Runs the garbage collector until the unfinished writes are gone; what another program writes stays.

        containerd ends its own lease when it notices that nobody waits any more, which takes a moment.
        """
        for turn in range(_SWEEPS):
            await collect_garbage(self._site.client, self._namespace)
            left = {one.ref for one in await self._site.client.content.ingests(self._namespace)}
            if not left & self._unfinished:
                return
            await asyncio.sleep(0.05 * 2**turn)
