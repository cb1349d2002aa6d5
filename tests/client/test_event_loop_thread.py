"""A thread that runs coroutines for code without an event loop."""

import asyncio
import gc
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from lince.client.event_loop_thread import EventLoopThread
from lince.errors import LinceError


async def nothing() -> None:
    """The end of a loop that has nothing to close."""


async def add(a: int, b: int) -> int:
    await asyncio.sleep(0.001)
    return a + b


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lince-client"]


def test_results_and_errors_come_back():
    """As from a function."""
    thread = EventLoopThread(nothing)
    assert 3 == thread.run(add(1, 2))
    with pytest.raises(ZeroDivisionError):
        thread.run(divide())
    thread.close()


async def divide() -> float:
    return 1 / 0


def test_several_threads_may_use_it():
    """All results come from one loop, each to its caller."""
    thread = EventLoopThread(nothing)
    with ThreadPoolExecutor(8) as pool:
        assert [2 * n for n in range(50)] == list(pool.map(lambda n: thread.run(add(n, n)), range(50)))
    assert 1 == len(threads())
    thread.close()
    assert [] == threads()


def test_it_works_below_a_running_loop():
    """In a notebook the calling thread has a loop."""
    thread = EventLoopThread(nothing)

    async def cell() -> int:
        return thread.run(add(1, 1))

    assert 2 == asyncio.run(cell())
    thread.close()


def test_close_runs_the_end_once():
    """A second close does nothing, and one before the first call starts nothing."""
    ended = []

    async def end() -> None:
        ended.append(threading.current_thread().name)

    thread = EventLoopThread(end)
    thread.run(add(1, 1))
    thread.close()
    thread.close()
    EventLoopThread(end).close()
    assert ["lince-client"] == ended


def test_a_closed_one_says_so():
    """Whether or not it was ever started."""
    used, unused = EventLoopThread(nothing), EventLoopThread(nothing)
    used.run(add(1, 1))
    for thread in (used, unused):
        thread.close()
        with pytest.raises(LinceError, match=r"The client is closed, or was used before .* Make another one"):
            thread.run(add(1, 1))


def test_close_ends_what_is_under_way():
    """A call of another thread is cancelled."""
    thread, began = EventLoopThread(nothing), threading.Event()

    async def wait() -> None:
        began.set()
        await asyncio.sleep(60)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(thread.run, wait())
        began.wait()
        thread.close()
        with pytest.raises(CancelledError):
            waiting.result()


def test_a_forgotten_one_ends():
    """Without a close, the thread ends when nothing refers to the object."""
    thread = EventLoopThread(nothing)
    thread.run(add(1, 1))
    [running] = threads()
    del thread
    gc.collect()
    running.join(10)
    assert not running.is_alive()


FORKED = """
import asyncio, os
from lince.client.event_loop_thread import EventLoopThread

async def one(): return 1
async def nothing(): pass

early, late = EventLoopThread(nothing), EventLoopThread(nothing)
early.run(one())
child = os.fork()
if child == 0:
    print(late.run(one()))
    try:
        early.run(one())
    except Exception as error:
        print(error, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(early.run(one()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_process_is_told():
    """A thread does not live on in a child: a sentence in place of a wait without end. An unused one works there."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    message = "The client is closed, or was used before this process was forked. Make another one."
    assert (["1", message, "1"], "") == (done.stdout.splitlines(), done.stderr)


UNCLOSED = """
from lince.client.event_loop_thread import EventLoopThread

async def one(): return 1
async def nothing(): print("closed", flush=True)

thread = EventLoopThread(nothing)
thread.run(one())
"""


def test_a_program_ends_without_a_close():
    """A client that is never closed neither holds the program nor prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", UNCLOSED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
