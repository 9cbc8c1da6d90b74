"""A lease around a piece of work: afterwards it is gone, and after a failure so is everything that it held."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from imgframe.errors import ImgframeError, WireError
from imgframe.wire import Client
from imgframe.wire.leases import EXPIRE

HOURS = 24
"""After so long a lease ends by itself, should its owner be killed; the same as containerd's own clients."""

T = TypeVar("T")

CleanUp = Callable[[], Awaitable[None]]


@asynccontextmanager
async def leased(client: Client, namespace: str) -> AsyncIterator[tuple[str, list[CleanUp]]]:
    """A lease, and a list of what to clean up should the work fail or be cancelled.

    It is ended at the end in any case; after a failure only when the garbage collector has run, so that nothing is left.

    Raises:
        WireError: the lease could not be made.
    """
    lease = f"imgframe-{namespace}-{secrets.token_hex(8)}"
    expires = (datetime.now(UTC) + timedelta(hours=HOURS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    clean_ups: list[CleanUp] = []
    try:
        await client.leases.create(namespace, lease, {EXPIRE: expires})
        yield lease, clean_ups
    except BaseException as error:
        problem = await _finished(_fail(client, namespace, lease, clean_ups))
        if problem:
            error.add_note(problem)
        raise
    await _finished(client.leases.delete(namespace, lease, sync=False))


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


async def _finished(work: Coroutine[Any, Any, T]) -> T:
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
