"""The one loop behind the synchronous face."""

import asyncio
import queue
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from imgframe import _loop

FORK = """
import asyncio, os, signal
from imgframe import _loop

async def here():
    await asyncio.sleep(0)
    return os.getpid()

assert _loop.run(here()) == os.getpid()
child = os.fork()
if child == 0:
    signal.alarm(120)
    os._exit(0 if _loop.run(here()) == os.getpid() else 1)
assert os.waitpid(child, 0)[1] == 0
assert _loop.run(here()) == os.getpid()
"""


async def thread_name():
    await asyncio.sleep(0)
    return threading.current_thread().name


def test_the_sync_face_works_inside_a_running_loop():
    async def notebook():
        return _loop.run(thread_name())

    assert asyncio.run(notebook()) == "imgframe"
    assert _loop.run(thread_name()) == "imgframe"


def test_the_async_face_runs_on_the_same_thread_from_any_loop():
    async def elsewhere():
        return await _loop.arun(thread_name())

    async def nested():
        return await _loop.arun(thread_name())

    assert asyncio.run(elsewhere()) == "imgframe"
    assert _loop.run(nested()) == "imgframe"


def test_waiting_on_the_loops_own_thread_is_refused():
    async def wrong():
        _loop.run(thread_name())

    with pytest.raises(RuntimeError, match="await the asynchronous twin"):
        _loop.run(wrong())


def test_errors_come_through():
    async def fails():
        raise LookupError("x")

    with pytest.raises(LookupError, match="x"):
        _loop.run(fails())


def test_an_interrupt_cancels_the_work_and_waits_for_its_cleanup(interrupts):
    cleaned = []

    async def work():
        try:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(KeyboardInterrupt):
        _loop.run(work())
    assert cleaned == [True]
    assert _loop.run(thread_name()) == "imgframe"


def test_no_interrupt_is_lost(interrupts):
    """2,000 interrupts at random moments: half from the time that the wait begins, half once the work is running."""
    begun, cleaned, lost = [], [], []
    send, raised = queue.SimpleQueue(), queue.SimpleQueue()  # in C: an interrupt cannot break them
    main = threading.main_thread().ident
    moments = random.Random(7)

    def sender():
        for turn in range(2000):
            send.get()
            time.sleep(moments.choice([0, 1e-5, 1e-4, 3e-4]) * moments.random())
            signal.pthread_kill(main, signal.SIGINT)
            while True:
                try:
                    raised.get(timeout=20)
                    break
                except queue.Empty:
                    lost.append(turn)
                    signal.pthread_kill(main, signal.SIGINT)

    async def work(turn):
        begun.append(turn)
        try:
            if turn % 2:
                send.put(turn)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(turn)

    thread = threading.Thread(target=sender)
    thread.start()
    for turn in range(2000):
        mine = work(turn)
        try:
            if turn % 2 == 0:
                send.put(turn)
            _loop.run(mine)
        except KeyboardInterrupt:
            mine.close()  # where the interrupt was faster than run
        raised.put(turn)
    thread.join()
    assert not lost
    assert begun == cleaned
    assert len(begun) >= 1000
    assert _loop.run(thread_name()) == "imgframe"


def test_cancelling_the_async_face_cancels_the_work():
    cleaned = threading.Event()

    async def outer():
        started = asyncio.Event()
        mine = asyncio.get_running_loop()

        async def work():
            try:
                mine.call_soon_threadsafe(started.set)
                await asyncio.Event().wait()
            finally:
                cleaned.set()

        task = asyncio.create_task(_loop.arun(work()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(outer())
    assert cleaned.wait(60)


def test_a_forked_child_gets_a_loop_of_its_own():
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=240)
