"""A container's CPU quota and memory limit, as Linux control groups of versions 1 and 2 set them.

A limit may be set at any level from the process's own group up to the highest visible one; the lowest limit counts.
The folder `root`, where `proc` and the control groups are mounted, is / except in tests.
Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1; `man 7 cgroups`; `man 5 proc` (mountinfo).
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPU time that this process may use, in cores, such as 1.5; None where nothing limits it."""
    quotas = map(_cpu_quota_of, _levels("cpu", root))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes that this process may use; None without a limit."""
    limits = map(_memory_limit_of, _levels("memory", root))
    return min((limit for limit in limits if limit is not None), default=None)


def _levels(controller: str, root: Path) -> Iterator[Path]:
    """Folders of the groups that this process is in, the innermost first, of every hierarchy with `controller`."""
    groups = dict(_groups(root))
    for key, top, point in _mounts(controller, root):
        if key not in groups:
            continue
        # Where the group is outside of what is mounted here, the top of the mount is the nearest visible group.
        inside = groups[key].is_relative_to(top) and ".." not in groups[key].parts
        group = groups[key].relative_to(top) if inside else PurePosixPath()
        for level in (group, *group.parents):
            yield root / str(point / level).lstrip("/")


def _groups(root: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """This process's group for every controller; the name of the controller is "" in version 2."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            yield controller, PurePosixPath(path)


def _mounts(controller: str, root: Path) -> Iterator[tuple[str, PurePosixPath, PurePosixPath]]:
    """Of each mounted hierarchy with `controller`: its key in `_groups`, the group on top, and where it is mounted."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        place, system = before.split(), after.split()
        if len(place) > 4 and len(system) > 2:
            top, point = (PurePosixPath(_unescaped(path)) for path in place[3:5])
            if system[0] == "cgroup2":
                yield "", top, point
            elif system[0] == "cgroup" and controller in system[2].split(","):
                yield controller, top, point


def _unescaped(path: str) -> str:
    """The path with its octal escapes decoded, such as `\\040` for a space."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _cpu_quota_of(level: Path) -> float | None:
    """Version 2 has one file with `QUOTA PERIOD` or `max PERIOD`, version 1 two files, with −1 for no quota."""
    words = _words(level / "cpu.max") or _words(level / "cpu.cfs_quota_us") + _words(level / "cpu.cfs_period_us")
    numbers = [int(word) for word in words if word.isdecimal()]
    return numbers[0] / numbers[1] if len(numbers) == 2 and all(numbers) else None


def _memory_limit_of(level: Path) -> int | None:
    """Without a limit version 1 has the largest number of pages, about 9.2e18 bytes."""
    words = _words(level / "memory.max") or _words(level / "memory.limit_in_bytes")
    return int(words[0]) if words and words[0].isdecimal() and int(words[0]) < 2**62 else None


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux, or no such controller at this level
        return []
