"""Leases: they expire by the node's clock, protect a piece of work, and make the garbage collector run."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from weakref import WeakKeyDictionary

from imgframe.act.tasks import finished, gather_or_cancel
from imgframe.errors import Conflict, ImgframeError, Missing, WireError
from imgframe.wire import Client
from imgframe.wire.leases import EXPIRE
from imgframe.wire.records import Resource, labels_of

HOURS = 24
"""A lease expires after so long if its owner is killed; the same as containerd's own clients."""

PREFIX = "imgframe-"

OWNER = "imgframe.io/owner"
"""Label of our leases: the process that works under it, so that what a killed one left can be told from what a living one needs."""

DELETING = f"{PREFIX}delete"
"""The lease under which one application at a time deletes in a namespace."""

DELETING_SECONDS = 900.0
"""How long that lease blocks others where its owner was killed on another machine."""

_swept: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()
_offsets: WeakKeyDictionary[Client, float] = WeakKeyDictionary()
_held: set[str] = set()
"""Leases under which this process is working."""

CleanUp = Callable[[], Awaitable[None]]


def clock_offset(client: Client) -> float:
    """Seconds by which the node's clock is ahead of this machine's, as its latest lease shows; 0: less than a second apart."""
    return _offsets.get(client, 0.0)


async def create(
    client: Client,
    namespace: str,
    lease: str,
    seconds: float,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Create a lease that ends by itself after so many seconds of the node's clock; gives that time [s since the epoch].

    containerd stamps a lease with its own time. Where that differs from ours by more than a second, the lease is made again.

    Raises:
        WireError: the lease could not be made.
    """
    for _ in range(2):
        before = _now()
        ends = math.ceil(before + clock_offset(client) + seconds)
        expires = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        made = await client.leases.create(namespace, lease, {**labels, EXPIRE: expires})
        offset = _offset(made.created_at, before, _now())
        if abs(offset - clock_offset(client)) <= 1:
            break
        _offsets[client] = offset
        with suppress(Missing):  # expired by the node's clock, and collected
            await client.leases.delete(namespace, lease, sync=False)
    return ends


def _offset(created_at: int | None, before: float, after: float) -> float:
    """How far the node's time is ahead of an interval of ours; 0: within a second of it, or unknown."""
    if created_at is None:
        return 0.0
    node = created_at / 1e9
    return node - after if node > after + 1 else node - before if node < before - 1 else 0.0


def _now() -> float:
    return time.time()


async def collect_garbage(client: Client, namespace: str) -> None:
    """Make the garbage collector run and wait for it, by creating an empty lease and deleting it."""
    lease = f"{PREFIX}{secrets.token_hex(6)}"
    await create(client, namespace, lease, 60)
    await client.leases.delete(namespace, lease, sync=True)


@asynccontextmanager
async def leased(client: Client, namespace: str) -> AsyncIterator[tuple[str, list[CleanUp]]]:
    """A lease, and a list of what to clean up if the work fails or is cancelled.

    The lease is deleted in any case; after a failure synchronously with the garbage collector, so that nothing is left.

    Raises:
        WireError: the lease could not be made.
    """
    await sweep(client, namespace)
    lease = f"{PREFIX}{namespace}-{secrets.token_hex(8)}"
    clean_ups: list[CleanUp] = []
    held = _key(client, namespace, lease)
    _held.add(held)
    try:
        await create(client, namespace, lease, HOURS * 3600, {OWNER: _owner()})
        yield lease, clean_ups
    except BaseException as error:
        problem = await finished(_fail(client, namespace, lease, clean_ups))
        if problem:
            error.add_note(problem)
        raise
    else:
        await finished(client.leases.delete(namespace, lease, sync=False))
    finally:
        _held.discard(held)  # one that could not be deleted is left to the next pull


@asynccontextmanager
async def deleting(client: Client, namespace: str, digests: Iterable[str]) -> AsyncIterator[None]:
    """The lease of whoever deletes in a namespace: it holds content until the end, and then the garbage collector runs.

    Raises:
        Conflict: another application is deleting there.
    """
    held = _key(client, namespace, DELETING)
    if held in _held:
        raise _busy(client, namespace)
    _held.add(held)
    try:
        try:
            await create(client, namespace, DELETING, DELETING_SECONDS, {OWNER: _owner()})
        except Conflict as error:
            raise _busy(client, namespace) from error
        try:
            await gather_or_cancel(_add(client, namespace, digest) for digest in digests)
            yield
        finally:
            with suppress(Missing):  # expired
                await finished(client.leases.delete(namespace, DELETING, sync=True))
    finally:
        _held.discard(held)


async def _add(client: Client, namespace: str, digest: str) -> None:
    with suppress(Missing):  # expired
        await client.leases.add(namespace, DELETING, Resource("content", digest))


def _busy(client: Client, namespace: str) -> Conflict:
    return Conflict(
        f"another application of a plan is deleting in namespace {namespace!r} (lease {DELETING}); apply again when it has ended",
        address=client.node.address,
        call="Leases/Create",
        code="ALREADY_EXISTS",
    )


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


def _is_orphan(held: str, owner: str) -> bool:
    """Whether nobody works under a lease any more; False where that is unknown.

    Its owner was a process of this machine that is gone, or is this one, which could not delete it while containerd was down.
    """
    with suppress(OSError, ValueError):
        where, pid, started = owner.rsplit("/", 2)
        if where != _here():
            return False
        return held not in _held if int(pid) == os.getpid() else _started(int(pid)) != started
    return False


async def sweep(client: Client, namespace: str) -> None:
    """Delete the leases that processes of this machine left behind, so that the garbage collector can take what they held."""
    swept = _swept.setdefault(client, set())
    if namespace in swept:
        return
    swept.add(namespace)
    for lease in await client.leases.list(namespace):
        if lease.id.startswith(PREFIX) and _is_orphan(
            _key(client, namespace, lease.id), labels_of(lease.labels).get(OWNER, "")
        ):
            with suppress(Missing):
                await client.leases.delete(namespace, lease.id, sync=lease.id == DELETING)


def _key(client: Client, namespace: str, lease: str) -> str:
    """A lease of any node and namespace."""
    return f"{client.node.address} {namespace} {lease}"


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
