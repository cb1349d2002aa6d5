"""The process that decodes large and unusual pictures for the service: `python -m lince.serving.decoder BYTES`.

Reads requests from stdin and writes answers to stdout, one after the other, until stdin ends. A decoder cannot be
stopped from outside while C code runs; a process can: each picture has so much CPU time, after which the kernel ends
this process, and so much memory. It runs at a low priority, so that small pictures are answered meanwhile.

Imports Pillow and little else: 20 MB resident, started in 60 ms of CPU time.
"""

import json
import os
import signal
import struct
import sys
import time
import warnings
from typing import BinaryIO

from lince.encoded_image import decoding
from lince.encoded_image.image_spec import ImageLimits, ImageSpec
from lince.errors import ImageError
from lince.system import memory

REQUEST = struct.Struct("<II")
"""Bytes of the options and of the encoded image, which follow; the options are the JSON of `decode_options`."""

ANSWER = struct.Struct("<?dI")
"""Whether there are pixels, seconds of CPU time, bytes of what follows: u8[H,W,3], or the JSON of a code and a message.
"""

_NICENESS = 10  # of 19: a tenth of the time that a process of ordinary priority gets, where both want the core


def main() -> None:
    """Answers requests until stdin ends."""
    if os.name == "posix":
        os.nice(_NICENESS)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # whoever started the service may have had it ignored
    warnings.filterwarnings("ignore", module="PIL")  # 100,000 lines about one picture's Exif, in the service's log
    memory.return_freed()
    memory.limit_growth(int(sys.argv[1]))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while header := source.read(REQUEST.size):
        options_bytes, image_bytes = REQUEST.unpack(header)
        options = json.loads(source.read(options_bytes))
        _answer(target, source.read(image_bytes), options)


def _answer(target: BinaryIO, data: bytes, options: dict) -> None:
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
    """The kernel ends this process by SIGPROF after so much CPU time; 0 for no limit. Windows has no such timer."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
