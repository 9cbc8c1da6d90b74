"""How registries are asked about many names: each once, a bounded number at a time, and what was learnt of each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

from imgframe import _loop, oci
from imgframe.errors import InputError, RegistryError, RegistryNotFound
from imgframe.registry import Registry

Paths = Iterable[str | os.PathLike[str]]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Resolution:
    """What was learnt about one name: a target, or why not; ``absent``: the registry says that it has no such thing."""

    target: oci.Descriptor | None = None
    reason: str | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """How registries are asked; the options of :func:`imgframe.resolve_digest`."""

    insecure: bool = False
    hosts_dirs: Paths = ()
    docker_config: str | os.PathLike[str] | None = None
    max_parallel: int = 32
    timeout: float = 60.0

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """These options.

        Raises:
            InputError: one of them is unknown.
        """
        known = [field.name for field in fields(cls)]
        unknown = [name for name in options if name not in known]
        if unknown:
            raise InputError(f"{unknown[0]!r} is not a registry option; expected some of {', '.join(known)}")
        return cls(**options)


class QuerySession:
    """An open session with registries, and a bound on the names that are asked for at a time."""

    def __init__(self, registry: Registry, max_parallel: int) -> None:
        self.registry = registry
        self._gate = asyncio.Semaphore(max_parallel)

    async def each(self, keys: Iterable[K], query: Callable[[K], Awaitable[V]]) -> dict[K, V]:
        """``query(key)`` for each different key."""
        unique = list(dict.fromkeys(keys))

        async def gated(key: K) -> V:
            async with self._gate:
                return await query(key)

        return dict(zip(unique, await asyncio.gather(*map(gated, unique)), strict=True))

    async def resolve(self, name: str) -> Resolution:
        """The target of a name in its registry, or why it is not known."""
        try:
            return Resolution(await self.registry.image(name).resolve())
        except RegistryError as error:
            return Resolution(reason=str(error), absent=isinstance(error, RegistryNotFound))


def query_registries(work: Callable[[QuerySession], Awaitable[V]], options: RegistryOptions) -> V:
    """What ``work`` finds out with a session of its own."""
    registry = Registry(
        hosts_dirs=options.hosts_dirs,
        insecure=options.insecure,
        docker_config=options.docker_config,
        timeout=options.timeout,
    )

    async def run() -> V:
        async with registry:
            return await work(QuerySession(registry, options.max_parallel))

    return _loop.run(run())
