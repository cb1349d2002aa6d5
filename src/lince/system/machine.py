"""The machine: its description for measurements, what this process may use of it, and what it has used."""

import math
import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lince.system import cgroup

# Instruction sets that decide how fast int8 and bfloat16 kernels are, by their Linux names; Arm's come last.
_INT8_DOT_PRODUCTS = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16", *_INT8_DOT_PRODUCTS)


@dataclass(frozen=True)
class Machine:
    """What a figure was measured on.

    Attributes:
        processor: its name.
        instructions: its instruction sets that speed up int8 and bfloat16, by their Linux names. Empty where it has
            none of them, or the system does not say.
        cores: that this process may use, as of `cores`.
        installed_cores: logical cores of the machine.
        cpu_quota: CPU time that the container may use, in cores; None where there is no quota.
        memory_bytes: memory that this process may use: what is installed, or the container's limit if that is lower.
        system, python: kernel with its version and architecture; the interpreter's version.
    """

    processor: str
    instructions: tuple[str, ...]
    cores: int
    installed_cores: int
    cpu_quota: float | None
    memory_bytes: int | None
    system: str
    python: str

    @property
    def has_avx2_alone(self) -> bool:
        """Whether this is an x86 processor with AVX2 and nothing later, where int8 was hardly faster than float."""
        return self.instructions == ("avx2",)


def read() -> Machine:
    """The machine, and this process's share of it."""
    limits = [size for size in (_installed_memory_bytes(), cgroup.memory_limit()) if size is not None]
    return Machine(
        processor=_processor(),
        instructions=_instructions(),
        cores=cores(),
        installed_cores=os.cpu_count() or 1,
        cpu_quota=cgroup.cpu_quota(),
        memory_bytes=min(limits, default=None),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
    )


def describe() -> str:
    """One line: processor and its instructions, cores this process may use, system."""
    system, instructions = f"{platform.system()} {platform.machine()}", ", ".join(_instructions())
    processor = f"{_processor()} ({instructions})" if instructions else _processor()
    return f"{processor}, {cores()} cores, {system}, Python {platform.python_version()}"


def cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: those that it may run on, at most the container's quota; at least 1.

    A fraction is rounded up: with a quota of 1.5 cores two threads are busy three quarters of the time.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup.cpu_quota(root)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def peak_memory_bytes(*, children: bool = False) -> int | None:
    """The most memory that was resident at a time.

    On Linux `ru_maxrss` of a new process starts at what its parent held: a child that needs 12 MB reports 411 MB when
    its parent holds 411. For this process `VmHWM` is read instead, where there is one. For children there is only
    `ru_maxrss`: it is an upper bound.

    Args:
        children: of the largest child that has ended and was waited for, instead of this process; 0 without one.

    Returns:
        Bytes; None on systems that do not say.
    """
    if not children and (found := re.search(r"^VmHWM:\s+(\d+) kB$", _text("/proc/self/status"), re.MULTILINE)):
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    usage = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # macOS counts bytes, others KiB


def processor_flags() -> set[str]:
    """The processor's features by their Linux names; empty on other systems."""
    return set(_cpuinfo("flags", "Features").split())  # x86, Arm


def _instructions() -> tuple[str, ...]:
    flags = processor_flags()
    return tuple(name for name in _INSTRUCTIONS if name in flags)


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(*names: str) -> str:
    """What Linux says of the first processor under one of these names; empty where it says nothing."""
    found = (line.partition(":")[2] for line in _text("/proc/cpuinfo").splitlines() if line.startswith(names))
    return next(found, "").strip()


def _installed_memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows, or a system that does not say
        return None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return ""
