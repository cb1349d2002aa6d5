"""What a service and all its children use: CPU seconds and memory, read from /proc. Linux only."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_INTERVAL_S = 0.005
_SHARES_EVERY = 10  # reading shares walks over all pages: 1 to 3 ms a process


def processes(pid: int) -> Iterator[int]:
    """The process and all its descendants; those that end meanwhile are left out."""
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from processes(int(child))


def cpu_s(pid: int) -> float:
    """CPU seconds of the tree so far, with those of children that have ended and that their parents waited for."""
    return sum(_ticks(process) for process in processes(pid)) / _TICKS


def _ticks(pid: int) -> int:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return 0


def resident_bytes(pid: int) -> int:
    """Resident memory, summed over the tree; pages that processes share count for each of them."""
    total = 0
    for process in processes(pid):
        with suppress(OSError):
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    return total


def share_bytes(pid: int) -> int:
    """Proportional memory, summed over the tree: a page of n processes counts 1/n for each. 0 where it is unknown."""
    total = 0
    for process in processes(pid):
        with suppress(OSError):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


class Watch:
    """Samples a tree's memory in a thread; `with Watch(pid) as watch: …; watch.peak_resident`.

    Without `shares`, `peak_share` stays 0: reading it took 17 ms of a process that trains with 1.6 GB.
    """

    def __init__(self, pid: int, *, interval_s: float = _INTERVAL_S, shares: bool = True):
        self._pid, self._interval_s, self._shares = pid, interval_s, shares
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peak_resident = self.peak_share = 0

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        count = 0
        while not self._ended.wait(self._interval_s):
            self.peak_resident = max(self.peak_resident, resident_bytes(self._pid))
            if self._shares and count % _SHARES_EVERY == 0:
                self.peak_share = max(self.peak_share, share_bytes(self._pid))
            count += 1
