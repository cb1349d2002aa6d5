"""Several processes that answer on one socket: started, watched, replaced one by one, and stopped together.

A worker that cannot start is tried again, after a growing pause; the others go on. Each worker has a pipe to the
supervisor. Through it come "ready", why it cannot start, and a beat each second; when the supervisor is gone, the pipe
is broken, and the worker stops.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from lince.errors import ServiceError
from lince.serving.shutdown import LAST_RESORT_S

_BEAT_S = 1.0
# Native code that holds Python's lock for this long is stuck: the longest known stretch was 3 s.
_SILENCE_S = 20.0
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # before one that failed is started again; then the last one
_HEALTHY_S = 60.0  # one that lived as long had no trouble to start
_KILL_BEFORE_S = 0.5  # of the time that a stop has, what the supervisor itself needs at the end
_log = logging.getLogger(__name__)
_spawn = multiprocessing.get_context("spawn")


class Link:
    """A worker's end of its pipe. `slot` is its number among the workers, and that of whoever replaces it."""

    def __init__(self, slot: int, pipe: Connection):
        self.slot, self._pipe = slot, pipe
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type, tuple[int, Connection]]:
        return Link, (self.slot, self._pipe)

    def say_ready(self) -> None:
        self._send("ready")

    def say_failed(self, reason: str) -> None:
        self._send(f"failed {reason}")

    def beat(self) -> None:
        """Says each second that the process lives; stops it when nobody is left to hear."""
        while self._send("beat"):
            time.sleep(_BEAT_S)
        os.kill(os.getpid(), signal.SIGTERM)

    def close(self) -> None:
        self._pipe.close()

    def _send(self, message: str) -> bool:
        with self._lock, suppress(OSError):
            self._pipe.send_bytes(message.encode()[:2000])
            return True
        return False


def _run(target: Callable[..., None], link: Link, arguments: tuple[Any, ...]) -> None:
    """The whole life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the supervisor passes it on
    threading.Thread(target=link.beat, daemon=True).start()
    target(link, *arguments)


class _Worker:
    """One place among the workers, and the process that fills it just now."""

    def __init__(self, slot: int):
        self.slot = slot
        self.process: multiprocessing.context.SpawnProcess | None = None
        self.pipe: Connection | None = None
        self.is_ready = False
        self.was_ready = False
        self.failures = 0
        self.reason = ""
        self.started_at = self.heard_at = 0.0
        self.due_at = 0.0

    def start(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Starts a process; where the system has none to give, that is tried again later."""
        try:
            pipe, theirs = _spawn.Pipe(duplex=False)
        except OSError as error:
            self._put_off(error)
            return
        link = Link(self.slot, theirs)
        process = _spawn.Process(target=_run, args=(target, link, arguments))
        try:
            process.start()
        except OSError as error:
            pipe.close()
            self._put_off(error)
        else:
            self.process, self.pipe = process, pipe
            self.is_ready, self.reason, self.heard_at = False, "", 0.0
            self.started_at = time.monotonic()
        finally:
            link.close()

    def _put_off(self, error: OSError) -> None:
        pause = _PAUSES_S[min(self.failures, len(_PAUSES_S) - 1)]
        self.failures, self.reason, self.due_at = self.failures + 1, str(error.strerror), time.monotonic() + pause
        _log.error("A worker cannot start (%s). The others go on; it is tried again in %g s.", error.strerror, pause)

    def listen(self) -> None:
        """Takes what the process said."""
        try:
            while self.pipe.poll():
                kind, _, reason = self.pipe.recv_bytes().decode("utf-8", "replace").partition(" ")
                self.heard_at = time.monotonic()
                if kind == "ready":
                    _log.info("Worker %d is ready.", self.process.pid)
                self.is_ready, self.was_ready = self.is_ready or kind == "ready", self.was_ready or kind == "ready"
                self.reason = reason if kind == "failed" else self.reason
        except (EOFError, OSError):  # it has ended
            pass

    def kill_if_silent(self) -> None:
        if self.heard_at and time.monotonic() - self.heard_at > _SILENCE_S:
            _log.error("Worker %d has said nothing for %g s: it is killed.", self.process.pid, _SILENCE_S)
            self.process.kill()

    def bury(self) -> None:
        """Takes note of the end of its process."""
        self.listen()
        self.process.join()
        self.pipe.close()
        now, pid, code = time.monotonic(), self.process.pid, self.process.exitcode
        is_healthy = self.is_ready and now - self.started_at > _HEALTHY_S
        pause = 0.0 if is_healthy else _PAUSES_S[min(self.failures, len(_PAUSES_S) - 1)]
        self.failures = 0 if is_healthy else self.failures + 1
        self.process, self.pipe, self.due_at = None, None, now + pause
        if self.is_ready:
            _log.error("Worker %d ended (exit code %s). Another one starts in %g s.", pid, code, pause)
        else:
            reason = self.reason or f"exit code {code}; the log above may say more"
            _log.error("A worker cannot start (%s). The others go on; it is tried again in %g s.", reason, pause)
        self.is_ready = False


class Supervisor:
    """Keeps `count` processes running until SIGINT or SIGTERM."""

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...], *, count: int, shutdown_s: float):
        """Starts nothing yet.

        Args:
            target: what a worker does: `target(link, *arguments)`; picklable, as the arguments are.
            arguments: of all workers.
            count: how many.
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
                self._wait(self._seconds_to_next())
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
        return min([_BEAT_S, *(max(0.0, at - time.monotonic()) for at in due)])

    def _wait(self, timeout_s: float) -> None:
        living = [worker for worker in self._workers if worker.process is not None]
        ends = [one for worker in living for one in (worker.process.sentinel, worker.pipe)]
        for one in wait([self._wake, *ends], max(0.0, timeout_s)):
            if one == self._wake:
                os.read(self._wake, 64)

    def _check(self) -> None:
        for worker in self._workers:
            if worker.process is None:
                continue
            worker.listen()
            worker.kill_if_silent()
            if worker.process.exitcode is not None and not self._signals:
                worker.bury()
        if all(worker.failures and not worker.was_ready for worker in self._workers):
            reasons = " ".join(dict.fromkeys(worker.reason for worker in self._workers if worker.reason))
            raise ServiceError(f"No worker could start. {reasons or 'The log above says why.'}")

    def _stop(self) -> None:
        """Lets all stop at once; kills those that have not ended in time, or all at a second signal."""
        end = time.monotonic() + self._shutdown_s + LAST_RESORT_S - _KILL_BEFORE_S
        living = [worker for worker in self._workers if worker.process is not None]
        for worker in living:
            worker.process.terminate()
        while living and self._signals < 2 and time.monotonic() < end:
            self._wait_for(living, end - time.monotonic())
            living = [worker for worker in living if worker.process.exitcode is None]
        for worker in living:
            _log.warning("Worker %d has not ended: it is killed.", worker.process.pid)
            worker.process.kill()
            worker.process.join()

    def _wait_for(self, living: list[_Worker], timeout_s: float) -> None:
        for one in wait([self._wake, *(worker.process.sentinel for worker in living)], max(0.0, timeout_s)):
            if one == self._wake:
                os.read(self._wake, 64)
