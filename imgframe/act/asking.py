"""Asking registries about many names: each once, so many at a time, and what was learnt of each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self, TypeVar

from imgframe import _loop, oci
from imgframe.errors import InputError, RegistryError, RegistryNotFound
from imgframe.registry import Registry

Paths = Iterable[str | os.PathLike[str]]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Found:
    """What was learnt about one name: a target, or why not; ``absent``: the registry says that it has no such thing."""

    target: oci.Descriptor | None = None
    reason: str | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Manner:
    """How registries are asked; the options of :func:`imgframe.resolve_digest`."""

    insecure: bool = False
    hosts_dirs: Paths = ()
    docker_config: str | os.PathLike[str] | None = None
    max_parallel: int = 32
    timeout: float = 60.0

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """The manner that options say.

        Raises:
            InputError: one of them is unknown.
        """
        known = [field.name for field in fields(cls)]
        unknown = [name for name in options if name not in known]
        if unknown:
            raise InputError(
                f"{unknown[0]!r} is no way to ask a registry; expected some of {', '.join(known)}"
            )
        return cls(**options)

    def saved(self) -> dict[str, Any]:
        """What a plan may hold of it: paths, but nothing that is in the files there.

        Raises:
            InputError: ``docker_config`` is no path.
        """
        if self.docker_config is not None and not isinstance(self.docker_config, str | os.PathLike):
            raise InputError(
                "docker_config of a plan is the path of a config.json: a plan holds no credentials"
            )
        dirs = [self.hosts_dirs] if isinstance(self.hosts_dirs, str | os.PathLike) else self.hosts_dirs
        told = {
            "insecure": self.insecure or None,
            "hosts_dirs": [os.fspath(one) for one in dirs] or None,
            "docker_config": None if self.docker_config is None else os.fspath(self.docker_config),
            "timeout": None if self.timeout == Manner().timeout else self.timeout,
        }
        return {name: value for name, value in told.items() if value is not None}

    def registry(self) -> Registry:
        """A session that asks so."""
        return Registry(
            hosts_dirs=self.hosts_dirs,
            insecure=self.insecure,
            docker_config=self.docker_config,
            timeout=self.timeout,
        )


class Asking(NamedTuple):
    """An open session, and how many questions it may have at a time."""

    registry: Registry
    gate: asyncio.Semaphore

    async def all(self, keys: Iterable[K], one: Callable[[K], Awaitable[V]]) -> dict[K, V]:
        """``one(key)`` for each different key, so many at a time."""
        unique = list(dict.fromkeys(keys))

        async def gated(key: K) -> V:
            async with self.gate:
                return await one(key)

        return dict(zip(unique, await asyncio.gather(*map(gated, unique)), strict=True))

    async def find(self, name: str) -> Found:
        """The target of a name."""
        return await find(self.registry, name)


async def find(registry: Registry, name: str) -> Found:
    """The target of a name in its registry, or why it is not known."""
    try:
        return Found(await registry.image(name).resolve())
    except RegistryError as error:
        return Found(reason=str(error), absent=isinstance(error, RegistryNotFound))


def ask(work: Callable[[Asking], Awaitable[V]], manner: Manner) -> V:
    """What ``work`` finds out with a session of its own."""
    registry = manner.registry()

    async def inside() -> V:
        async with registry:
            return await work(Asking(registry, asyncio.Semaphore(manner.max_parallel)))

    return _loop.run(inside())
