"""Several processes that answer on one socket, under a supervisor: started, watched, replaced one by one, stopped.

A worker that cannot start is tried again after a growing pause, while the others go on. Each worker has a pipe to the
supervisor. It sends "ready", or why it cannot start, and a beat each second. When the supervisor is gone, the pipe is
broken, and the worker stops.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from lince.errors import ServiceError
from lince.serving.shutdown import LAST_RESORT_S

_BEAT_S = 1.0
# Native code that holds Python's lock for this long is stuck: the longest known stretch was 3 s.
_SILENCE_S = 20.0
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # before a failed worker is started again; then the last one
_HEALTHY_S = 60.0  # a worker that lived for so long is started again without a pause
_KILL_BEFORE_S = 0.5  # the part of a stop's time that the supervisor itself needs at the end
_log = logging.getLogger(__name__)
_spawn = multiprocessing.get_context("spawn")


class Link:
    """A worker's end of its pipe. A worker's replacement has the same `slot`, its number among the workers."""

    def __init__(self, slot: int, pipe: Connection):
        self.slot, self._pipe = slot, pipe
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type, tuple[int, Connection]]:
        return Link, (self.slot, self._pipe)

    def say_ready(self) -> None:
        """Tells the supervisor that the worker answers requests."""
        self._send("ready")

    def say_failed(self, reason: str) -> None:
        """Tells the supervisor why the worker cannot start."""
        self._send(f"failed {reason}")

    def beat(self) -> None:
        """Tells the supervisor each second that the process lives; stops the process when the supervisor is gone."""
        while self._send("beat"):
            time.sleep(_BEAT_S)
        os.kill(os.getpid(), signal.SIGTERM)

    def close(self) -> None:
        """Closes the pipe in the process that does not use it."""
        self._pipe.close()

    def _send(self, message: str) -> bool:
        with self._lock, suppress(OSError):
            self._pipe.send_bytes(message.encode()[:2000])
            return True
        return False


def _run(target: Callable[..., None], link: Link, arguments: tuple[Any, ...]) -> None:
    """The whole life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the supervisor passes it on
    threading.Thread(target=link.beat, daemon=True).start()
    target(link, *arguments)


class _Process:
    """A worker's process, seen from the supervisor."""

    def __init__(self, slot: int, target: Callable[..., None], arguments: tuple[Any, ...]):
        """Starts it.

        Raises:
            OSError: the system has no process, pipe or memory left.
        """
        self._pipe, theirs = _spawn.Pipe(duplex=False)
        link = Link(slot, theirs)
        self._process: SpawnProcess = _spawn.Process(target=_run, args=(target, link, arguments))
        try:
            self._process.start()
        except OSError:
            self._pipe.close()
            raise
        finally:
            link.close()
        self.started_at, self._heard_at = time.monotonic(), 0.0
        self.is_ready, self.reason = False, ""

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.exitcode

    @property
    def events(self) -> tuple[int, Connection]:
        """What `multiprocessing.connection.wait` waits for: its end, or a message of it."""
        return self._process.sentinel, self._pipe

    def listen(self) -> None:
        """Reads the messages that have arrived."""
        try:
            while self._pipe.poll():
                kind, _, reason = self._pipe.recv_bytes().decode("utf-8", "replace").partition(" ")
                self._heard_at = time.monotonic()
                if kind == "ready":
                    _log.info("Worker %d is ready.", self.pid)
                self.is_ready = self.is_ready or kind == "ready"
                self.reason = reason if kind == "failed" else self.reason
        except (EOFError, OSError):  # it has ended
            pass

    def kill_if_silent(self) -> None:
        """Kills a process that has sent no beat for too long."""
        if self._heard_at and time.monotonic() - self._heard_at > _SILENCE_S:
            _log.error("Worker %d has sent no sign of life for %g s: it is killed.", self.pid, _SILENCE_S)
            self._process.kill()

    def terminate(self) -> None:
        """Asks it to stop."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """Reads its last messages and frees its resources. It has ended."""
        self.listen()
        self._process.join()
        self._pipe.close()


class _Worker:
    """One place among the workers, and the process in it, if there is one."""

    def __init__(self, slot: int):
        self.slot = slot
        self.process: _Process | None = None
        self.was_ready = False
        self.failures = 0
        self.reason = ""  # of the last failure
        self.due_at = 0.0

    def start(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Starts a process; when the system cannot, it is tried again later."""
        try:
            self.process = _Process(self.slot, target, arguments)
        except OSError as error:
            self._fail(str(error.strerror))
        else:
            self.reason = ""

    def check(self, process: _Process, *, stopping: bool) -> None:
        """Reads the messages of its process, and takes note of its end."""
        process.listen()
        process.kill_if_silent()
        self.was_ready, self.reason = self.was_ready or process.is_ready, process.reason
        if process.exit_code is not None and not stopping:
            self._bury(process)

    def _bury(self, process: _Process) -> None:
        """Decides when the next process starts after the end of this one."""
        process.close()
        self.process, self.was_ready = None, self.was_ready or process.is_ready
        if not process.is_ready:
            self._fail(process.reason, process.exit_code)
            return
        now = time.monotonic()
        is_healthy = now - process.started_at > _HEALTHY_S
        pause_s = 0.0 if is_healthy else self._pause_s
        self.failures = 0 if is_healthy else self.failures + 1
        self.due_at = now + pause_s
        _log.error(
            "Worker %d ended (exit code %s). Another one starts in %g s.", process.pid, process.exit_code, pause_s
        )

    def _fail(self, reason: str, exit_code: int | None = None) -> None:
        self.reason, pause_s = reason, self._pause_s
        self.failures, self.due_at = self.failures + 1, time.monotonic() + pause_s
        reason = reason or f"exit code {exit_code}; the log above may say more"
        _log.error("A worker cannot start (%s). The others go on; it is tried again in %g s.", reason, pause_s)

    @property
    def _pause_s(self) -> float:
        return _PAUSES_S[min(self.failures, len(_PAUSES_S) - 1)]


class Supervisor:
    """Keeps `count` processes running until SIGINT or SIGTERM."""

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...], *, count: int, shutdown_s: float):
        """Starts nothing yet.

        Args:
            target: the work of a process: `target(link, *arguments)`; picklable, as the arguments are.
            arguments: the same for all workers.
            count: number of workers.
            shutdown_s: seconds that requests in flight may take after a stop signal.
        """
        self._target, self._arguments, self._shutdown_s = target, arguments, shutdown_s
        self._workers = [_Worker(slot) for slot in range(count)]
        self._signals = 0
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)

    def run(self) -> None:
        """Returns after a stop.

        Raises:
            ServiceError: at the start, no worker could begin.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle_signal)
        try:
            while not self._signals:
                self._start_due()
                self._wait((event for process in self._living() for event in process.events), self._seconds_to_next())
                self._check()
        finally:
            self._stop()

    def _handle_signal(self, *_: object) -> None:
        self._signals += 1
        with suppress(OSError):
            os.write(self._woken, b"x")

    def _start_due(self) -> None:
        for worker in self._workers:
            if worker.process is None and worker.due_at <= time.monotonic():
                worker.start(self._target, self._arguments)

    def _seconds_to_next(self) -> float:
        due = [worker.due_at for worker in self._workers if worker.process is None]
        return min([_BEAT_S, *(at - time.monotonic() for at in due)])

    def _living(self) -> list[_Process]:
        return [worker.process for worker in self._workers if worker.process is not None]

    def _wait(self, events: Iterable[int | Connection], timeout_s: float) -> None:
        """Waits for one of the events, or for a signal."""
        if self._wake in wait([self._wake, *events], max(0.0, timeout_s)):
            os.read(self._wake, 64)

    def _check(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.check(worker.process, stopping=bool(self._signals))
        if all(worker.failures and not worker.was_ready for worker in self._workers):
            reasons = " ".join(dict.fromkeys(worker.reason for worker in self._workers if worker.reason))
            raise ServiceError(f"No worker could start. {reasons or 'The log above says why.'}")

    def _stop(self) -> None:
        """Stops all at once; kills those that have not ended in time, or all of them at a second signal."""
        end = time.monotonic() + self._shutdown_s + LAST_RESORT_S - _KILL_BEFORE_S
        living = self._living()
        for process in living:
            process.terminate()
        while living and self._signals < 2 and time.monotonic() < end:
            self._wait((process.events[0] for process in living), end - time.monotonic())
            living = [process for process in living if process.exit_code is None]
        for process in living:
            _log.warning("Worker %d has not ended: it is killed.", process.pid)
            process.kill()
