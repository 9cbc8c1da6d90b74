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
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")

_WAKE_SECONDS = 0.1

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
            fresh = asyncio.new_event_loop()
            threading.Thread(target=fresh.run_forever, name="imgframe", daemon=True).start()
            _running = fresh  # an interrupt before this line leaves a spare thread, not a loop without one
        return _running


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the loop's thread and waits for it.

    An interrupt (Ctrl-C, or the stop button of a notebook) cancels the work, waits until it has cleaned up, and is
    raised; a second one does not wait.

    Raises:
        RuntimeError: called from the loop's own thread, which would wait for itself for ever.
    """
    here = loop()
    if _current() is here:
        work.close()
        raise RuntimeError("this runs on imgframe's own loop: await the asynchronous twin instead")
    job = _Job(here, work)
    try:
        here.call_soon_threadsafe(job.start)
        job.wait()
    except BaseException:
        here.call_soon_threadsafe(job.cancel)
        job.wait()
        raise
    return cast("T", job.result())


async def arun(work: Coroutine[Any, Any, T]) -> T:
    """Awaits a coroutine that runs on the loop's thread, from any loop.

    Cancelling the one cancels the other, and waits until it has cleaned up.
    """
    here, caller = loop(), asyncio.get_running_loop()
    if caller is here:
        return await work
    ended = asyncio.Event()

    def end() -> None:
        with contextlib.suppress(RuntimeError):  # the caller's loop is closed
            caller.call_soon_threadsafe(ended.set)

    job = _Job(here, work, end)
    here.call_soon_threadsafe(job.start)
    cancelled: asyncio.CancelledError | None = None
    while not ended.is_set():
        try:
            await ended.wait()
        except asyncio.CancelledError as error:
            cancelled = error
            here.call_soon_threadsafe(job.cancel)
    if cancelled is not None:
        raise cancelled
    return cast("T", job.result())


def _current() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Job:
    """A coroutine on the loop, and a lock that is released when it has ended.

    It is a bare lock because an interrupt may strike anywhere in the Python code of threading.Event or
    concurrent.futures.Future and leave their inner lock held, which would block the loop.
    """

    def __init__(
        self,
        where: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._where, self._work, self._on_end = where, work, ended
        self._task: asyncio.Task[Any] | None = None
        self._ended = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def start(self) -> None:
        """On the loop: begins the work."""
        self._task = self._where.create_task(self._work)
        self._task.add_done_callback(self._end)

    def cancel(self) -> None:
        """On the loop: cancels the work, which may not have begun."""
        if self._task is not None:
            self._task.cancel()
        else:
            self._work.close()
            self._end()

    def _end(self, _: object = None) -> None:
        self._ended = True
        self._lock.release()
        self._on_end()

    def wait(self) -> None:
        """Waits for the end of the work.

        Python does not see a signal that arrives just before the system call until that returns: hence the timeout.
        """
        while not self._ended:
            self._lock.acquire(timeout=_WAKE_SECONDS)

    def result(self) -> Any:
        """What the work returned or raised."""
        assert self._task is not None  # only a job that was cancelled has none
        return self._task.result()
