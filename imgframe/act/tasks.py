"""Coroutines that run to their end although the waiting for them is cancelled, or that fail together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from imgframe.errors import ImgframeError

T = TypeVar("T")


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that is completed even if waiting for it is cancelled."""
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


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, None] | asyncio.Task[None]]) -> None:
    """Run coroutines together; the first failure cancels the others, and is raised when they have ended."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        await cancel(tasks)
        raise


async def cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they have ended."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
