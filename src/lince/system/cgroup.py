"""What a container may use: the CPU quota and the memory limit that Linux control groups set, versions 1 and 2.

A limit may be set at any level between the process's own group and the top one that it can see; the lowest counts.
Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1; `man 7 cgroups`; `man 5 proc` (mountinfo).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of time that this process may use, such as 1.5; None where nothing limits it.

    Args:
        root: where `proc` and the mounted control groups are found; another than / in tests.
    """
    return min(_found(_cpu_quota_of(level) for level in _levels("cpu", root)), default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes that this process may use; None where nothing limits it below what the machine has.

    Args:
        root: as for `cpu_quota`.
    """
    return min(_found(_memory_limit_of(level) for level in _levels("memory", root)), default=None)


@dataclass(frozen=True)
class _Mount:
    """One line of `/proc/self/mountinfo`: the part `top` of a hierarchy of groups is seen at `point`."""

    top: PurePosixPath
    point: PurePosixPath
    kind: str
    options: tuple[str, ...]


def _levels(controller: str, root: Path) -> Iterator[Path]:
    """Folders of the groups that this process is in, the innermost first, wherever `controller` may live in them."""
    groups = dict(_groups(root))
    for mount in _mounts(root):
        key = "" if mount.kind == "cgroup2" else controller
        if key not in groups or not (mount.kind == "cgroup2" or controller in mount.options):
            continue
        # Where the group lies outside of what is mounted here, the top of the mount is the nearest that can be seen.
        inside = groups[key].is_relative_to(mount.top) and ".." not in groups[key].parts
        group = groups[key].relative_to(mount.top) if inside else PurePosixPath()
        for level in (group, *group.parents):
            yield root / str(mount.point / level).lstrip("/")


def _groups(root: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """This process's group for every controller; that of version 2 has the name ""."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            yield controller, PurePosixPath(path)


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        place, system = before.split(), after.split()
        if len(place) > 4 and len(system) > 2 and system[0] in ("cgroup", "cgroup2"):
            top, point = (PurePosixPath(_unescaped(path)) for path in place[3:5])
            yield _Mount(top, point, kind=system[0], options=tuple(system[2].split(",")))


def _unescaped(path: str) -> str:
    """Spaces and the like are written in octal: `\\040`."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _cpu_quota_of(level: Path) -> float | None:
    """Version 2 writes `QUOTA PERIOD` or `max PERIOD` into one file, version 1 two files and −1 for no quota."""
    words = _words(level / "cpu.max") or _words(level / "cpu.cfs_quota_us") + _words(level / "cpu.cfs_period_us")
    numbers = [int(word) for word in words if word.isdecimal()]
    return numbers[0] / numbers[1] if len(numbers) == 2 and all(numbers) else None


def _memory_limit_of(level: Path) -> int | None:
    """Version 1 writes the largest number of pages there is, some 9.2e18 bytes, for no limit."""
    words = _words(level / "memory.max") or _words(level / "memory.limit_in_bytes")
    return int(words[0]) if words and words[0].isdecimal() and int(words[0]) < 2**62 else None


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux, or no such controller at this level
        return []


def _found(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
