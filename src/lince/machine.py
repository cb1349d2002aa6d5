"""The machine, in words: what a figure was measured on."""

import os
import platform
from pathlib import Path


def describe() -> str:
    """One line: processor, cores this process may use, system."""
    system = f"{platform.system()} {platform.machine()}"
    return f"{_processor()}, {cores()} cores, {system}, Python {platform.python_version()}"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_flags() -> set[str]:
    """The processor's features by their Linux names; empty on other systems."""
    for line in _processor_lines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def _processor() -> str:
    for line in _processor_lines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _processor_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return []
