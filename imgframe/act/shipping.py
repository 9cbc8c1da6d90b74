"""Applying the steps that move images: pull, ensure and push on all nodes of a plan at once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from imgframe.act import handing, pulling, pushing, transferring
from imgframe.act.bars import Bars
from imgframe.act.lines import Lines
from imgframe.act.looking import Shelf
from imgframe.act.pulling import Choice
from imgframe.act.remotes import Remotes
from imgframe.act.sites import Site
from imgframe.errors import (
    DocumentError,
    ImgframeError,
    NotFound,
    RegistryDenied,
    RegistryError,
    RegistryNotFound,
    TimedOut,
    Unreachable,
    WireError,
)
from imgframe.planning.local_image import not_available
from imgframe.planning.options import PullMode
from imgframe.wire import Client

if TYPE_CHECKING:
    from imgframe.act.applying import Run, Step

NODES = 64
"""Nodes that are acted on at a time."""


async def apply_steps(run: Run, steps: dict[str, list[Step]]) -> None:
    """Does the steps of every node; what becomes of each is in ``run.outcomes``."""
    bars = Bars(run.progress, sum(len(mine) for mine in steps.values()))
    gate = asyncio.Semaphore(NODES)
    try:
        async with Remotes(run.docker_config, run.registry_timeout) as remotes:
            crew = Crew(run, Lines(), remotes, bars)

            async def node(name: str, mine: list[Step]) -> None:
                async with gate:
                    await crew.work(name, mine)

            await asyncio.gather(*(node(name, mine) for name, mine in steps.items()))
    finally:
        bars.close()


class Crew:
    """What all nodes of one application share."""

    def __init__(self, run: Run, lines: Lines, remotes: Remotes, bars: Bars) -> None:
        self._run, self._lines, self._remotes, self._bars = run, lines, remotes, bars

    async def work(self, name: str, steps: list[Step]) -> None:
        """All steps of one node, several at a time."""
        try:
            async with Client(self._run.plan.nodes[name], timeout=self._run.timeout) as client:
                hand = Hand(await Site.open(client), self._lines, self._remotes, self._bars, len(steps))
                await self._run.each(steps, hand.step)
        except WireError as error:
            for step in steps:
                failed = {"status": "failed", "message": _message(step["name"], error)}
                self._run.outcomes.setdefault(step["step"], failed)


class Hand:
    """Does the steps of one node."""

    def __init__(self, site: Site, lines: Lines, remotes: Remotes, bars: Bars, steps: int) -> None:
        self._site, self._lines, self._remotes, self._bars = site, lines, remotes, bars
        self._shelf = Shelf(site, lines, steps)

    async def step(self, step: Step) -> dict[str, Any]:
        """One step; its outcome, whose message names the image, the registry and what to do next."""
        ways = {"pull": self._pull, "ensure": self._ensure, "push": self._push}
        try:
            return await ways[step["action"]](step, json.loads(step["options"] or "{}"))
        except ImgframeError as error:
            return {"status": "failed", "message": _message(step["to"] or step["name"], error)}

    async def _pull(self, step: Step, options: dict[str, Any]) -> dict[str, Any]:
        namespace, choice = step["namespace"], _choice(options)
        remote = self._remotes.image(step["name"], options)
        bar = self._bars.image(step["name"])
        try:
            if await transferring.serves(self._site, namespace, remote, choice, options):
                only = options.get("via") == "transfer"
                pulled = await transferring.pull(self._site, namespace, remote, choice, bar, only=only)
                if pulled is not None:
                    return pulling.outcome(pulled, "transfer")
            return pulling.outcome(
                await pulling.pull(self._site, namespace, remote, choice, self._lines, bar), "client"
            )
        finally:
            bar.close()
            self._shelf.forget(namespace)

    async def _ensure(self, step: Step, options: dict[str, Any]) -> dict[str, Any]:
        """As imgutil's EnsureImage: look first unless the mode is always or several platforms are meant."""
        mode, choice = PullMode.of(options.get("mode", PullMode.MISSING)), _choice(options)
        reason = "not looked for, because more than one platform is meant"
        if mode is not PullMode.ALWAYS and choice.count(self._site.host) == 1:
            try:
                found = await self._shelf.find(step["namespace"], step["name"], choice)
            except NotFound as error:
                reason = str(error)
            else:
                return {
                    "status": "done",
                    "before": found.digest,
                    "after": found.digest,
                    "record": found.name,
                    "snapshotter": found.snapshotter,
                    "fetched_bytes": 0,
                }
        if mode is PullMode.NEVER:
            return {"status": "failed", "message": f"{not_available(step['name'])} ({reason})"}
        return await self._pull(step, options)

    async def _push(self, step: Step, options: dict[str, Any]) -> dict[str, Any]:
        remote = self._remotes.image(step["to"], options)
        bar = self._bars.image(step["to"])
        try:
            if options.get("via") == "transfer":
                return await handing.push(self._site, step, remote, options, bar)
            return await pushing.push(self._site, step, remote, _choice(options), self._lines, bar)
        finally:
            bar.close()


def _choice(options: dict[str, Any]) -> Choice:
    platform = options.get("platform")
    every = platform == "all"
    return Choice(
        specifiers=tuple(platform) if isinstance(platform, list) else (),
        all_platforms=every,
        unpack=options.get("unpack"),
        snapshotter=options.get("snapshotter", ""),
    )


def _message(name: str, error: ImgframeError) -> str:
    """What went wrong with which image, what is left of it, and what to do next."""
    words = str(error) if str(error).startswith(f"{name}:") else f"{name}: {error}"
    return "; ".join([words, *getattr(error, "__notes__", ())]) + _next(error)


def _next(error: ImgframeError) -> str:
    """What to do next, where the error itself does not say."""
    match error:
        case Unreachable():
            return "; start containerd and apply the plan again: what is there already does not travel twice"
        case TimedOut():
            return "; apply the plan again, with a longer timeout="
        case RegistryNotFound():
            return "; check the name and the tag"
        case RegistryDenied():
            return "; log in (docker login), or name another config.json with docker_config="
        case RegistryError() if not any(words in str(error) for words in ("try again", "pushed again")):
            return "; see whether the registry is up, and apply the plan again"
        case WireError():
            return "; see containerd's log, and apply the plan again"
        case DocumentError() if error.code == "not_found" and "no match for platform" in str(error):
            return "; choose another one with platform="
    return ""
