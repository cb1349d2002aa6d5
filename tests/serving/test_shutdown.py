"""A stop has an end, whatever runs."""

import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.waits

# A thread that never ends, in a library's code that Python cannot interrupt and waits for at its end.
_STUCK = """
import ctypes, threading, sys
from lince.serving.shutdown import end_process_after
threading.Thread(target=ctypes.CDLL(None).pause).start()
if sys.argv[1] == "locked":  # the log's lock is held, too
    import logging
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    threading.Thread(target=lambda: handler.acquire() or threading.Event().wait()).start()
end_process_after(0.5)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pause() in its C library")
@pytest.mark.parametrize("log", ["free", "locked"])
def test_stuck_threads_do_not_keep_the_process(log: str):
    """It ends with the code of success: the stop was asked for."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", _STUCK, log], capture_output=True, text=True, timeout=60, check=False)
    assert (0, time.monotonic() - began < 30) == (done.returncode, True)
    assert ("The stop took" in done.stderr) == (log == "free")
