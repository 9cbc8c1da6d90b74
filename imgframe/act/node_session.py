"""One node during an application: its client, what the node says of itself, and what became of each step there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgframe import platforms
from imgframe.act.locks import Locks
from imgframe.act.progress import ApplyBars
from imgframe.act.steps import Outcome, Step, failed_by
from imgframe.act.tasks import finished
from imgframe.digests import matches
from imgframe.errors import DocumentError, InputError, Missing
from imgframe.upstream.recheck import Recheck
from imgframe.upstream.sessions import RegistrySessions
from imgframe.wire import Client, layout
from imgframe.wire.records import Layout, labels_of

if TYPE_CHECKING:
    from imgframe.plans.plan import Plan

DEFAULT_SNAPSHOTTER = "overlayfs"
_DEFAULT_LABEL = "containerd.io/defaults/snapshotter"


@dataclass(frozen=True, slots=True)
class ApplyContext:
    """What all nodes of one application share."""

    plan: Plan
    max_parallel: int
    locks: Locks
    registries: RegistrySessions
    recheck: Recheck
    progress: ApplyBars
    record: Callable[[int, Outcome], None] | None = None
    """Called with each outcome as soon as it is known."""


class NodeSession:
    """A node with a client; actions get it with their steps.

    Attributes:
        name: of the node in the plan.
        client: of the node.
        context: what it shares with the other nodes.
        outcomes: what became of each step so far, by its number.
        observed: bytes that really disappeared (None: unknown); empty where nothing was to be deleted.
        held_until: when the leases end that hold what was deleted [s, the node's clock]; None: nothing is held.
        host: the platform that the node runs, once :meth:`open` has asked.
        layout: of its store, likewise.
        last_progress: when containerd last reported progress of a transfer of its own, on the monotonic clock.
    """

    host: platforms.Platform
    layout: Layout

    def __init__(
        self,
        name: str,
        client: Client,
        context: ApplyContext,
        outcomes: dict[int, Outcome],
        observed: list[int | None],
    ) -> None:
        self.name, self.client, self.context, self.outcomes = name, client, context, outcomes
        self.observed = observed
        self.held_until: int | None = None
        self.last_progress = 0.0
        self._snapshotters: dict[str, str] | None = None
        self._asking = asyncio.Lock()

    async def open(self) -> None:
        """Ask the node for its platform and its snapshotters, once."""
        if not hasattr(self, "layout"):
            self.layout = layout(await self.client.daemon.plugins())
            found = self.layout.platform
            self.host = platforms.normalize(
                platforms.Platform(found.os, found.architecture, found.variant)
                if found is not None
                else platforms.LINUX_AMD64
            )

    async def document(self, namespace: str, digest: str) -> bytes | None:
        """A document of the node; None if it is not there, or does not have its digest."""
        with suppress(Missing, DocumentError):
            data = await self.client.content.document(namespace, digest)
            if matches(data, digest):
                return data
        return None

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
            if self._snapshotters is None:
                namespaces = await self.client.daemon.namespaces()
                self._snapshotters = {
                    one.name: labels_of(one.labels).get(_DEFAULT_LABEL, "") for one in namespaces
                }
        return self._snapshotters.get(namespace) or DEFAULT_SNAPSHOTTER

    async def each(self, steps: list[Step], do: Callable[[Step], Awaitable[Outcome]]) -> dict[int, Outcome]:
        """The outcome of ``do`` for every step, at most ``max_parallel`` at a time.

        Each is in :attr:`outcomes` as soon as it is known. When cancelled, the steps in flight are finished first.
        """
        gate = asyncio.Semaphore(self.context.max_parallel)

        async def gated(step: Step) -> None:
            async with gate:
                await finished(self._timed(step, do))

        ended = await asyncio.gather(*map(gated, steps), return_exceptions=True)  # waits for all of them
        for error in ended:
            if error is not None:
                raise error
        return {step["step"]: self.outcomes[step["step"]] for step in steps}

    async def _timed(self, step: Step, do: Callable[[Step], Awaitable[Outcome]]) -> None:
        started_at, clock = time.time_ns(), time.perf_counter()
        try:
            outcome = await do(step)
        except Exception as error:
            outcome = failed_by(step, error)
        timing = {"started_at": started_at, "seconds": time.perf_counter() - clock}
        self.settle(step["step"], timing | outcome)

    def settle(self, step: int, outcome: Outcome) -> None:
        """What became of a step, for the Result and for the journal."""
        self.outcomes[step] = outcome
        if self.context.record is not None:
            self.context.record(step, outcome)
