"""The application of a plan: every node by itself, and on each node one action after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from imgframe.act import delete, ensure, pull, push, tag, undo
from imgframe.act.leases import clock_offset
from imgframe.act.locks import Locks
from imgframe.act.node_session import ApplyContext, NodeSession
from imgframe.act.progress import ApplyBars
from imgframe.act.steps import Outcome, Step, failed, failed_by, refused
from imgframe.upstream.recheck import Recheck
from imgframe.upstream.sessions import RegistrySessions
from imgframe.wire import Client

if TYPE_CHECKING:
    from imgframe.plans.plan import Plan

ACTIONS: Mapping[str, Callable[[NodeSession, list[Step]], Awaitable[None]]] = {
    "create": undo.apply,
    "delete": delete.apply,
    "ensure": ensure.apply,
    "pull": pull.apply,
    "push": push.apply,
    "tag": tag.apply,
}
"""What applies the steps of each action on one node."""

MOVING = frozenset(["ensure", "pull", "push"])
"""Actions that move bytes between registries and nodes."""

NODES = 64
"""Nodes that move bytes at the same time."""


class Application:
    """One application of a plan; what happened so far is always here, also after an interrupt.

    All nodes work at the same time. The steps of one node are grouped by action, in the order in which the actions first
    appear in the plan; a group begins when the one before it has ended, and its steps run ``max_parallel`` at a time. So a
    plan that ensures before it deletes has the new images before the old ones go.
    """

    def __init__(
        self,
        plan: Plan,
        max_parallel: int,
        timeout: float,
        registry_timeout: float,
        *,
        progress: bool | None,
        docker_config: Any,
        record: Callable[[int, Outcome], None] | None = None,
    ) -> None:
        self._plan, self._timeout = plan, timeout
        registries = RegistrySessions(docker_config, registry_timeout)
        actions = plan.table["action"].to_pylist()
        moved = sum(action in MOVING for action in actions)
        self._context = ApplyContext(
            plan,
            max_parallel,
            Locks(),
            registries,
            Recheck(registries),
            ApplyBars(progress, moved, actions.count("delete")),
            record,
        )
        self._gate = asyncio.Semaphore(NODES)
        self._sessions: dict[str, NodeSession] = {}
        self._observed: dict[str, list[int | None]] = {}
        self._outcomes: dict[str, dict[int, Outcome]] = {}

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """What became of each step so far, by its number."""
        return {number: one for node in self._outcomes.values() for number, one in node.items()}

    @property
    def observed(self) -> dict[str, int | None]:
        """Bytes that disappeared from each node on which something was to be deleted; None: unknown."""
        return {name: size for name, sizes in self._observed.items() for size in sizes}

    @property
    def held_until(self) -> dict[str, int]:
        """When the undo leases of each node end, by its clock [s since the epoch]."""
        return {name: node.held_until for name, node in self._sessions.items() if node.held_until is not None}

    @property
    def clock_offsets(self) -> dict[str, float]:
        """Seconds by which the clock of each node is ahead of this machine's, where it is known."""
        return {name: clock_offset(node.client) for name, node in self._sessions.items()}

    async def run(self) -> None:
        """Apply the steps of all nodes."""
        steps: dict[str, list[Step]] = {}
        for step in self._plan.table.to_pylist():
            steps.setdefault(step["node"], []).append(step)
        try:
            async with self._context.registries:
                await asyncio.gather(*(self._apply(name, mine) for name, mine in steps.items()))
        finally:
            self._context.progress.close()

    async def _apply(self, name: str, steps: list[Step]) -> None:
        outcomes = self._outcomes[name] = {}
        deletes = any(step["action"] == "delete" for step in steps)
        observed: list[int | None] = [None] if deletes else []  # unknown until it was listed again
        self._observed[name] = observed
        try:
            if name not in self._plan.nodes:
                words = f"the plan does not know the address of the node {name!r}; collect again"
                outcomes |= {step["step"]: failed(words) for step in steps}
                return
            client = Client(self._plan.nodes[name], timeout=self._timeout)
            node = self._sessions[name] = NodeSession(name, client, self._context, outcomes, observed)
            groups: dict[str, list[Step]] = {}
            for step in steps:
                groups.setdefault(step["action"], []).append(step)
            async with nullcontext() if MOVING.isdisjoint(groups) else self._gate, client:
                if (why := await self._objection(name, client, groups)) is not None:
                    observed[:] = [0] * len(observed)
                    outcomes |= {step["step"]: refused(why) for step in steps}
                    return
                for action, mine in groups.items():
                    if action in ACTIONS:
                        await ACTIONS[action](node, mine)
                    else:
                        words = f"unknown action {action!r}; expected one of {', '.join(ACTIONS)}"
                        outcomes |= {step["step"]: failed(words) for step in mine}
        except Exception as error:
            for step in steps:
                outcomes.setdefault(step["step"], failed_by(step, error))

    async def _objection(self, name: str, client: Client, actions: Iterable[str]) -> str | None:
        """Why nothing is done on a node: it is not the one for which the plan was made."""
        expected = self._plan.stores.get(name)
        if expected is None:
            unknown = (
                f"the plan does not know the store of {name}, so nothing is deleted there; collect again"
            )
            return unknown if "delete" in actions else None
        found = (await client.daemon.server()).uuid
        if found == expected:
            return None
        return f"{name} now leads to another store ({found}); the plan was made for {expected}"
