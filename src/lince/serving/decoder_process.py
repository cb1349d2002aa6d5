"""The service's side of the process that decodes large and unusual pictures. It starts when needed, ends when stuck.

The process itself runs `decoder_program.py`.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import IO, cast

import numpy as np
from jaxtyping import UInt8

from lince.encoded_image.image_spec import ImageLimits, ImageSpec
from lince.errors import ImageError
from lince.serving import decoder_program
from lince.serving.errors import STOPPING, RequestError

# For machines without CPU timers, and for a process that gets no core in all this time.
_WALL_S = 30.0
_SPARE_BYTES = 64 * 2**20  # besides the pixels: the encoded bytes twice, and strips that become RGB

_log = logging.getLogger(__name__)


class DecoderProcess:
    """One process. `decode` is called from one thread at a time, `close` from any."""

    def __init__(self, limits: ImageLimits):
        self._limits = asdict(limits)
        self._memory_bytes = limits.max_decoder_bytes + _SPARE_BYTES
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._starting = threading.Lock()  # so that nothing starts after `close`
        self._decoding = threading.Lock()  # so that `close` closes no pipe that is being read

    def decode(
        self, data: bytes, spec: ImageSpec, *, cpu_s: float
    ) -> tuple[UInt8[np.ndarray, "h w 3"] | ImageError, float]:
        """Decodes one encoded image, as the network takes it, in at most `cpu_s` seconds of CPU time.

        Returns:
            The pixels as `lince.images.decode` gives them, or its error, or `decode_timeout`; and the seconds of CPU
            time that were spent.

        Raises:
            RequestError: the service stops.
        """
        with self._decoding:
            process = self._running()
            timer = threading.Timer(_WALL_S, process.terminate)  # SIGKILL is the system's, when memory is short
            timer.start()
            try:
                return self._exchange(process, data, spec, cpu_s)
            except (OSError, EOFError):
                return self._explain_end(process, cpu_s), cpu_s
            finally:
                timer.cancel()

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        with self._starting:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            with self._decoding:
                _release(process)

    def _running(self) -> subprocess.Popen[bytes]:
        with self._starting:
            if self._closed:
                raise stopping()
            if self._process is None or self._process.poll() is not None:
                try:
                    self._process = _start(self._memory_bytes)
                except OSError as error:  # no process, memory or file descriptor is left
                    message = f"The decoder cannot start ({error.strerror}). Try again in a second."
                    raise RequestError("overloaded", message) from error
            return self._process

    def _exchange(
        self, process: subprocess.Popen[bytes], data: bytes, spec: ImageSpec, cpu_s: float
    ) -> tuple[UInt8[np.ndarray, "h w 3"] | ImageError, float]:
        options = json.dumps({"spec": asdict(spec), "limits": self._limits, "cpu_s": cpu_s}).encode()
        requests, _ = _pipes(process)
        requests.write(decoder_program.REQUEST.pack(len(options), len(data)) + options)
        requests.write(data)
        requests.flush()
        whole, seconds, size = decoder_program.ANSWER.unpack(_read(process, decoder_program.ANSWER.size))
        content = _read(process, size)
        if whole:
            return np.frombuffer(content, np.uint8).reshape(spec.shape), seconds
        return ImageError(*json.loads(content)), seconds

    def _explain_end(self, process: subprocess.Popen[bytes], cpu_s: float) -> ImageError:
        code = _release(process)
        if self._closed:
            raise stopping()
        if os.name != "posix" or code in (-signal.SIGPROF, -signal.SIGTERM):
            return timeout(cpu_s)
        if code == -signal.SIGKILL:
            message = "The system ended the decoder of this image, most likely because memory ran out. Scale it down."
            return ImageError("image_too_large", message)
        _log.warning("A picture ended the decoder process with code %d.", code)
        return ImageError("corrupt_image", "The image is damaged: its decoder failed. Save it again.")


def timeout(cpu_s: float) -> ImageError:
    """The error of a picture that takes too long to decode."""
    message = (
        f"Decoding takes more than {cpu_s:.2g} s of CPU time. Scale the image down, or save it as an ordinary JPEG."
    )
    return ImageError("decode_timeout", message)


def stopping() -> RequestError:
    """The error of a request that the service can no longer answer."""
    return RequestError("shutting_down", STOPPING)


def _start(memory_bytes: int) -> subprocess.Popen[bytes]:
    # A process group of its own: Ctrl-C in the terminal reaches only the service, which ends this process in time.
    group = 0 if os.name == "posix" else None
    # -P: a module in the current folder must not replace one of ours.
    command = [sys.executable, "-P", "-m", decoder_program.__name__, str(memory_bytes)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=group)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    """Its stdin and stdout, which `_start` has opened."""
    return cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)


def _release(process: subprocess.Popen[bytes]) -> int:
    """Waits for the end of a process, closes its pipes, and returns its exit code."""
    code = process.wait()
    requests, answers = _pipes(process)
    answers.close()
    with suppress(OSError):  # bytes that the process has not read
        requests.close()
    return code


def _read(process: subprocess.Popen[bytes], size: int) -> bytes:
    _, answers = _pipes(process)
    data = answers.read(size)
    if len(data) < size:
        raise EOFError
    return data
