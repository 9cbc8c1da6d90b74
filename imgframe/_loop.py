"""The one event-loop thread behind the synchronous face.

All conversations with nodes and registries happen on this loop, whoever asks: a script, a notebook whose own loop is
running, or a coroutine on a third loop.

Example:
    >>> import asyncio
    >>> from imgframe import _loop
    >>> async def answer():
    ...     await asyncio.sleep(0)
    ...     return 42
    >>> _loop.run(answer())
    42
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_running: asyncio.AbstractEventLoop | None = None


def _forget() -> None:
    """After a fork: the child has no such thread any more."""
    global _lock, _running
    _lock, _running = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)


def loop() -> asyncio.AbstractEventLoop:
    """The loop; its thread starts at the first call in each process and ends with the process."""
    global _running  # noqa: PLW0603 -- one loop per process is the point
    with _lock:
        if _running is None:
            _running = asyncio.new_event_loop()
            threading.Thread(target=_running.run_forever, name="imgframe", daemon=True).start()
        return _running


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the loop's thread and waits for it.

    An interrupt (Ctrl-C, or the stop button of a notebook) cancels the work, waits until it has cleaned up, and is
    raised; a second one does not wait.

    Raises:
        RuntimeError: called from the loop's own thread, where waiting would be for ever.
    """
    here = loop()
    if _current() is here:
        work.close()
        raise RuntimeError("this runs on imgframe's own loop: await the asynchronous twin instead")
    task = _Task(here, work)
    try:
        task.start()
        return task.result()
    except BaseException:
        if not task.ended.is_set():
            task.cancel()
            task.ended.wait()
        raise


async def arun(work: Coroutine[Any, Any, T]) -> T:
    """Awaits a coroutine that runs on the loop's thread, from any loop; cancelling the one cancels the other."""
    here = loop()
    if _current() is here:
        return await work
    future = asyncio.run_coroutine_threadsafe(work, here)
    return await asyncio.wrap_future(future)


def _current() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Task:
    """A coroutine on the loop, with an event that is set when it has really ended."""

    def __init__(self, where: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> None:
        self.ended = threading.Event()
        self._where, self._work = where, work
        self._task: asyncio.Task[Any] | None = None
        self._outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def start(self) -> None:
        self._where.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if not self.ended.is_set():
            self._task = self._where.create_task(self._work)
            self._task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self._outcome.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self._outcome.set_exception(error)
        else:
            self._outcome.set_result(task.result())
        self.ended.set()

    def result(self) -> Any:
        return self._outcome.result()

    def cancel(self) -> None:
        self._where.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:  # interrupted before it began
            self._work.close()
            self.ended.set()
