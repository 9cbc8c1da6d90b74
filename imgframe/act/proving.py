"""Asking registries again right before a deletion: what could be pulled again when a plan was made may have gone since."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from imgframe.act.asking import Found, Manner, find
from imgframe.errors import ImgframeError
from imgframe.registry import Registry

OPTION = "require_remote"
"""In the options of a step: that a registry must have the image, under which reference, and how it is asked."""


class Proofs:
    """Asks for the images of the steps of a plan, each once for all nodes; for use in ``async with``.

    ``docker_config``: takes the place of the one that the steps name.
    """

    def __init__(self, docker_config: Any = None) -> None:
        self._docker_config = docker_config
        self._stack = AsyncExitStack()
        self._registries: dict[str, asyncio.Task[Registry]] = {}
        self._found: dict[str, asyncio.Task[Found]] = {}
        self._gate = asyncio.Semaphore(Manner().max_parallel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._found.values(), *self._registries.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stack.aclose()

    async def objection(self, options: dict[str, Any]) -> str | None:
        """Why a step with these options must not delete; None: nothing is required, or the registry has the image."""
        required = options.get(OPTION)
        if required is None:
            return None
        key = json.dumps(required, sort_keys=True)
        if key not in self._found:
            self._found[key] = asyncio.create_task(self._ask(**required))
        found = await self._found[key]
        if found.target is not None:
            return None
        words = (
            "no registry has it by now" if found.absent else "whether a registry has it could not be learnt"
        )
        return f"{words}: {found.reason}; plan again"

    async def _ask(self, reference: str, **manner: Any) -> Found:
        key = json.dumps(manner, sort_keys=True)
        if key not in self._registries:
            self._registries[key] = asyncio.create_task(self._open(manner))
        try:
            registry = await self._registries[key]
            async with self._gate:
                return await find(registry, reference)
        except ImgframeError as error:  # such as a config.json that cannot be read: then nothing was learnt
            return Found(reason=str(error))

    async def _open(self, manner: dict[str, Any]) -> Registry:
        if self._docker_config is not None:
            manner = {**manner, "docker_config": self._docker_config}
        return await self._stack.enter_async_context(Manner.of(manner).registry())
