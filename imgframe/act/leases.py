"""Leases: around a piece of work, for undo, and an empty one that makes the garbage collector run."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

from imgframe.act.tasks import finished
from imgframe.errors import ImgframeError, Missing, WireError
from imgframe.wire import Client
from imgframe.wire.leases import EXPIRE
from imgframe.wire.records import labels_of

HOURS = 24
"""A lease expires after so long if its owner is killed; the same as containerd's own clients."""

PREFIX = "imgframe-"

OWNER = "imgframe.io/owner"
"""Label of our leases: the process that works under it, so that what a killed one left can be told from what a living one needs."""

_swept: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()
_held: set[str] = set()
"""Leases under which this process is working."""

CleanUp = Callable[[], Awaitable[None]]


def expiring(seconds: float) -> dict[str, str]:
    """The label of a lease that ends by itself after so many seconds."""
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    return {EXPIRE: end.strftime("%Y-%m-%dT%H:%M:%SZ")}


def undo_lease(plan_id: str) -> str:
    """The name of the lease that holds what a plan deleted."""
    return f"{PREFIX}undo-{plan_id}"


async def collect_garbage(client: Client, namespace: str) -> None:
    """Make the garbage collector run and wait for it, by creating an empty lease and deleting it."""
    lease = f"{PREFIX}{secrets.token_hex(6)}"
    await client.leases.create(namespace, lease, expiring(60))
    await client.leases.delete(namespace, lease, sync=True)


@asynccontextmanager
async def leased(client: Client, namespace: str) -> AsyncIterator[tuple[str, list[CleanUp]]]:
    """A lease, and a list of what to clean up if the work fails or is cancelled.

    The lease is deleted in any case; after a failure synchronously with the garbage collector, so that nothing is left.

    Raises:
        WireError: the lease could not be made.
    """
    await _sweep(client, namespace)
    lease = f"{PREFIX}{namespace}-{secrets.token_hex(8)}"
    clean_ups: list[CleanUp] = []
    _held.add(lease)
    try:
        await client.leases.create(namespace, lease, {**expiring(HOURS * 3600), OWNER: _owner()})
        yield lease, clean_ups
    except BaseException as error:
        problem = await finished(_fail(client, namespace, lease, clean_ups))
        if problem:
            error.add_note(problem)
        raise
    else:
        await finished(client.leases.delete(namespace, lease, sync=False))
    finally:
        _held.discard(lease)  # one that could not be deleted is left to the next pull


@cache
def _here() -> str:
    """This boot of this machine, and this namespace of process ids."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"


def _started(pid: int) -> str:
    """When a process was started, in clock ticks since boot; empty: there is none."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]


def _owner() -> str:
    try:
        return f"{_here()}/{os.getpid()}/{_started(os.getpid())}"
    except OSError:  # not Linux
        return "unknown"


def _is_orphan(lease: str, owner: str) -> bool:
    """Whether nobody works under a lease any more; False where that is unknown.

    Its owner was a process of this machine that is gone, or is this one, which could not delete it while containerd was down.
    """
    with suppress(OSError, ValueError):
        where, pid, started = owner.rsplit("/", 2)
        if where != _here():
            return False
        return lease not in _held if int(pid) == os.getpid() else _started(int(pid)) != started
    return False


async def _sweep(client: Client, namespace: str) -> None:
    """Delete the leases that processes of this machine left behind, so that the garbage collector can take what they held."""
    swept = _swept.setdefault(client, set())
    if namespace in swept:
        return
    swept.add(namespace)
    for lease in await client.leases.list(namespace):
        if lease.id.startswith(PREFIX) and _is_orphan(lease.id, labels_of(lease.labels).get(OWNER, "")):
            with suppress(Missing):
                await client.leases.delete(namespace, lease.id, sync=False)


async def _fail(client: Client, namespace: str, lease: str, clean_ups: list[CleanUp]) -> str:
    """Clean up; what could not be done, in a sentence."""
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
