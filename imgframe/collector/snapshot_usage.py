"""Usage of snapshots: the bytes and inodes of each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from imgframe.collector.batches import in_batches
from imgframe.collector.cache import Cache, Usages
from imgframe.collector.namespace_lists import Fail
from imgframe.collector.progress import ProgressBars
from imgframe.errors import Missing, WireError
from imgframe.wire import Client, records

Usage = Literal["none", "committed", "all"]
ACTIVE_AT_ONCE = 6
"""Calls in flight for active snapshots: containerd walks the directory of each."""


@dataclass(slots=True)
class UsageReader:
    """Reads the usage of snapshots of a node, except of committed ones that are cached."""

    _client: Client
    _store: str
    _usage: Usage
    _cache: Cache | None
    _progress: ProgressBars
    _batch_size: int
    _active: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ACTIVE_AT_ONCE))
    _known: dict[tuple[str, str], Usages] = field(default_factory=dict)

    async def measure(
        self, namespace: str, snapshotter: str, snapshots: list[records.Snapshot], fail: Fail
    ) -> tuple[dict[str, tuple[int, int]], set[str]]:
        """Size [bytes] and inodes by key, and the keys deleted meanwhile."""
        if self._usage == "none":
            return {}, set()
        committed = {s.key: s.created_at or 0 for s in snapshots if s.kind == "committed"}
        known = self._cached(namespace, snapshotter)
        found = {
            key: (cached[1], cached[2])
            for key, created in committed.items()
            if (cached := known.get(key)) is not None and cached[0] == created
        }
        wanted = [key for key in committed if key not in found]
        others = [s.key for s in snapshots if s.kind != "committed"] if self._usage == "all" else []
        self._progress.expect("usages", len(wanted) + len(others))

        async def ask(key: str) -> records.Usage | Missing | None:
            return await self._ask(namespace, snapshotter, key, fail)

        async def ask_active(key: str) -> records.Usage | Missing | None:
            async with self._active:
                return await ask(key)

        answers = await asyncio.gather(
            in_batches(self._batch_size, ask, wanted), in_batches(ACTIVE_AT_ONCE, ask_active, others)
        )
        got = dict(zip([*wanted, *others], [*answers[0], *answers[1]], strict=True))
        found |= {
            key: (usage.size, usage.inodes) for key, usage in got.items() if isinstance(usage, records.Usage)
        }
        usages = {key: (created, *found[key]) for key, created in committed.items() if key in found}
        self._known[namespace, snapshotter] = usages
        if self._cache is not None and self._store and usages != known:
            self._cache.set_usages(self._store, namespace, snapshotter, usages)
        return found, {key for key, usage in got.items() if isinstance(usage, Missing)}

    async def _ask(
        self, namespace: str, snapshotter: str, key: str, fail: Fail
    ) -> records.Usage | Missing | None:
        try:
            return await self._client.snapshots.usage(namespace, snapshotter, key)
        except Missing as error:
            return error
        except WireError as error:
            fail("usage", f"{snapshotter}/{key}", error)
            return None
        finally:
            self._progress.done("usages")

    def _cached(self, namespace: str, snapshotter: str) -> Usages:
        known = self._known.get((namespace, snapshotter))
        if known is None and self._cache is not None and self._store:
            known = self._cache.usages(self._store, namespace, snapshotter)
        return known or {}
