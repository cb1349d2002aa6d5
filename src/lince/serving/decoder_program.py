"""The program that decodes large and unusual pictures for the service: `python -m lince.serving.decoder_program BYTES`.

`decoder_process.py` starts it and talks to it. It reads requests from stdin and writes answers to stdout, one after the
other, until stdin ends.

A decoder in C cannot be stopped from another thread, but a process can be ended. Each picture has a limit of CPU time,
after which the kernel ends this process, and a limit of memory. The process has a low priority, so that small pictures
are answered meanwhile. It imports Pillow and little else: 20 MB resident, started in 60 ms of CPU time.
"""

import json
import os
import signal
import struct
import sys
import time
import warnings
from typing import Any, BinaryIO

from lince.encoded_image import decoding
from lince.encoded_image.image_spec import ImageLimits, ImageSpec
from lince.errors import ImageError
from lince.system import memory

REQUEST = struct.Struct("<II")
"""The head of a request: bytes of the options (JSON) and of the encoded image, which follow in this order.

The options are `spec` and `limits`, the fields of `ImageSpec` and of `ImageLimits`, and `cpu_s`.
"""

ANSWER = struct.Struct("<?dI")
"""The head of an answer: whether there are pixels, seconds of CPU time, and bytes of the content that follows.

The content is u8[H,W,3], or the JSON of an error's code and message.
"""

_NICENESS = 13  # of 19: on a busy core, a twentieth of the time that a process of ordinary priority gets


def main() -> None:
    """Answers requests until stdin ends."""
    if os.name == "posix":
        os.nice(_NICENESS)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # a parent process may have set it to be ignored
    warnings.filterwarnings("ignore", module="PIL")  # one picture's Exif can cause 100,000 lines in the service's log
    memory.return_freed()
    memory.limit_growth(int(sys.argv[1]))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while header := source.read(REQUEST.size):
        options_bytes, image_bytes = REQUEST.unpack(header)
        options = json.loads(source.read(options_bytes))
        _answer(target, source.read(image_bytes), options)


def _answer(target: BinaryIO, data: bytes, options: dict[str, Any]) -> None:
    start = time.process_time()
    _limit_cpu(options["cpu_s"])
    try:
        image = decoding.read(data, ImageSpec(**options["spec"]), ImageLimits(**options["limits"]))
        whole, content = True, image.tobytes()
    except ImageError as error:
        whole, content = False, json.dumps([error.code, str(error)]).encode()
    _limit_cpu(0)
    target.write(ANSWER.pack(whole, time.process_time() - start, len(content)) + content)
    target.flush()


def _limit_cpu(seconds: float) -> None:
    """Has the kernel end this process by SIGPROF after some CPU time; 0 for no limit. Windows has no such timer."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
