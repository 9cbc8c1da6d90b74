"""A lease around a piece of work: afterwards it is gone, and after a failure so is everything that it held."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from imgframe.errors import ImgframeError, Missing, WireError
from imgframe.wire import Client
from imgframe.wire.leases import EXPIRE
from imgframe.wire.records import labels_of

HOURS = 24
"""After so long a lease ends by itself, should its owner be killed; the same as containerd's own clients."""

PREFIX = "imgframe-"

OWNER = "imgframe.io/owner"
"""Label of our leases: who works under it, so that what a killed process left can be told from what a living one needs."""

T = TypeVar("T")

_swept: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()
_held: set[str] = set()
"""Leases that work of this process goes on under."""

CleanUp = Callable[[], Awaitable[None]]


@asynccontextmanager
async def leased(client: Client, namespace: str) -> AsyncIterator[tuple[str, list[CleanUp]]]:
    """A lease, and a list of what to clean up should the work fail or be cancelled.

    It is ended at the end in any case; after a failure only when the garbage collector has run, so that nothing is left.

    Raises:
        WireError: the lease could not be made.
    """
    await _sweep(client, namespace)
    lease = f"{PREFIX}{namespace}-{secrets.token_hex(8)}"
    expires = (datetime.now(UTC) + timedelta(hours=HOURS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    clean_ups: list[CleanUp] = []
    _held.add(lease)
    try:
        await client.leases.create(namespace, lease, {EXPIRE: expires, OWNER: _owner()})
        yield lease, clean_ups
    except BaseException as error:
        problem = await finished(_fail(client, namespace, lease, clean_ups))
        if problem:
            error.add_note(problem)
        raise
    else:
        await finished(client.leases.delete(namespace, lease, sync=False))
    finally:
        _held.discard(lease)  # one that could not be ended is the next pull's to end


@cache
def _here() -> str:
    """This machine since it was started, and this namespace of process ids."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"


def _started(pid: int) -> str:
    """When a process was started, in ticks of its machine; empty: there is none."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]


def _owner() -> str:
    try:
        return f"{_here()}/{os.getpid()}/{_started(os.getpid())}"
    except OSError:  # not Linux: nobody can tell
        return "unknown"


def _is_orphan(lease: str, owner: str) -> bool:
    """Whether nobody works under a lease; never true where that cannot be told.

    Its owner was a process of this machine that is gone, or is this one, which could not end it while containerd was away.
    """
    with suppress(OSError, ValueError):
        where, pid, started = owner.rsplit("/", 2)
        if where != _here():
            return False
        return lease not in _held if int(pid) == os.getpid() else _started(int(pid)) != started
    return False


async def _sweep(client: Client, namespace: str) -> None:
    """Ends the leases that nobody of this machine works under any more, so that the garbage collector can take what they held."""
    swept = _swept.setdefault(client, set())
    if namespace in swept:
        return
    swept.add(namespace)
    for lease in await client.leases.list(namespace):
        if lease.id.startswith(PREFIX) and _is_orphan(lease.id, labels_of(lease.labels).get(OWNER, "")):
            with suppress(Missing):
                await client.leases.delete(namespace, lease.id, sync=False)


async def _fail(client: Client, namespace: str, lease: str, clean_ups: list[CleanUp]) -> str:
    """Cleans up; what could not be done, in a sentence."""
    problems = []
    for clean_up in clean_ups:
        try:
            await clean_up()
        except ImgframeError as error:
            problems.append(str(error))
    try:
        await client.leases.delete(namespace, lease, sync=True)
    except WireError as error:
        if error.code != "NOT_FOUND":
            problems.append(str(error))
    if not problems:
        return ""
    return f"what the pull left is held by the lease {lease} for up to {HOURS} h, because cleaning up failed: {problems[0]}"


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that goes on to its end even if the waiting for it is cancelled."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except ImgframeError:
            break
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result
