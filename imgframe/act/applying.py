"""Applying a Plan: each node by itself, each step compared with the node first, every outcome kept."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from imgframe import schema
from imgframe.act import deleting, restoring, tagging
from imgframe.act.proving import Proofs
from imgframe.act.result import Result
from imgframe.errors import ImgframeError, WireError
from imgframe.wire import Client

if TYPE_CHECKING:
    from imgframe.act.plan import Plan

Step = dict[str, Any]


class Run:
    """One application of a plan: what happened so far is always here, also when it is interrupted."""

    def __init__(
        self,
        plan: Plan,
        max_parallel: int,
        timeout: float,
        progress: bool | None,
        docker_config: Any,
        registry_timeout: float,
    ) -> None:
        self.plan = plan
        self.max_parallel = max_parallel
        self.timeout = timeout
        self.progress = progress
        self.docker_config = docker_config
        self.proofs = Proofs(docker_config)
        self.registry_timeout = registry_timeout
        self.outcomes: dict[int, dict[str, Any]] = {}
        self.observed: dict[str, int | None] = {}
        self.interrupted = False

    async def work(self) -> None:
        """All nodes at once."""
        steps: dict[str, list[Step]] = {}
        for step in self.plan.table.to_pylist():
            steps.setdefault(step["node"], []).append(step)
        moving = {"pull", "ensure", "push"}
        if any(step["action"] in moving for mine in steps.values() for step in mine):
            from imgframe.act.shipping import apply_steps

            await apply_steps(self, steps)
            return
        async with self.proofs:
            await asyncio.gather(*(self._node(name, mine) for name, mine in steps.items()))

    async def _node(self, name: str, steps: list[Step]) -> None:
        ways = {"delete": deleting.apply, "create": restoring.apply, "tag": tagging.apply}
        try:
            async with Client(self.plan.nodes[name], timeout=self.timeout) as client:
                for action in dict.fromkeys(step["action"] for step in steps):
                    await ways[action](
                        self, client, name, [step for step in steps if step["action"] == action]
                    )
        except WireError as error:
            for step in steps:
                self.outcomes.setdefault(step["step"], {"status": "failed", "message": str(error)})

    async def each(self, steps: list[Step], do: Callable[[Step], Awaitable[dict[str, Any]]]) -> None:
        """``do`` for every step, at most ``max_parallel`` at a time; a cancelled run finishes those in flight."""
        gate = asyncio.Semaphore(self.max_parallel)
        flying: set[asyncio.Task[None]] = set()

        async def one(step: Step) -> None:
            begun, clock = time.time_ns(), time.perf_counter()
            try:
                outcome = await do(step)
            except ImgframeError as error:
                outcome = {"status": "failed", "message": str(error)}
            self.outcomes[step["step"]] = {
                "started_at": begun,
                "seconds": time.perf_counter() - clock,
                **outcome,
            }

        async def guarded(step: Step) -> None:
            async with gate:
                task = asyncio.create_task(one(step))
                flying.add(task)
                try:
                    await asyncio.shield(task)
                finally:
                    if task.done():
                        flying.discard(task)

        try:
            await asyncio.gather(*(guarded(step) for step in steps))
        except asyncio.CancelledError:
            if flying:
                await asyncio.wait(flying)
            raise

    def finish(self, audit: str | os.PathLike[str] | None) -> Result:
        """The Result; steps that were not begun are ``stopped``."""
        rows = []
        for at in range(self.plan.table.num_rows):
            number = self.plan.table["step"][at].as_py()
            rows.append(
                {"step": number, "status": "stopped", "message": "not begun", **self.outcomes.get(number, {})}
            )
            if rows[-1]["status"] in {"done", "gone"} and "message" not in self.outcomes.get(number, {}):
                rows[-1]["message"] = None
        columns = {name: [row.get(name) for row in rows] for name in schema.PLANS["outcomes"].names}
        result = Result(self.plan, schema.plan_table("outcomes", columns), self.observed, self.interrupted)
        if audit is not None:
            from imgframe.act.auditing import write_audit

            write_audit(audit, result)
        return result
