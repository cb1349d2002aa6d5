"""The machine is described in one line or as a record, whatever it is; what a process used is measured."""

import platform
import subprocess
import sys

import pytest

from lince.system import machine


class TestDescribe:
    def test_is_one_line(self):
        """Processor, cores, system and Python, as a certificate quotes them."""
        found = machine.describe()
        assert 1 == len(found.splitlines())
        assert f"Python {platform.python_version()}" in found
        assert "cores" in found

    @pytest.mark.parametrize(
        ("cpuinfo", "expected"),
        [
            (
                "model name\t: Zen 4\nflags\t\t: fpu avx2 avx512_vnni avx512f sse\n",
                "Zen 4 (avx2, avx512f, avx512_vnni), ",
            ),
            ("Features\t: fp asimd asimddp\n", " (asimddp), "),
            ("model name\t: Old\nflags\t\t: fpu sse\n", "Old, "),
        ],
        ids=["x86", "arm", "none of them"],
    )
    def test_names_the_instructions_that_matter(self, monkeypatch, cpuinfo, expected):
        """Two processors of one name may differ by a factor of five in int8."""
        monkeypatch.setattr(machine, "_text", lambda path: cpuinfo if path == "/proc/cpuinfo" else "")
        assert expected in machine.describe()


class TestRead:
    def test_agrees_with_the_parts(self):
        """What a process may use is no more than what there is."""
        found = machine.read()
        assert machine.cores() == found.cores
        assert 1 <= found.cores <= found.installed_cores
        assert platform.release() in found.system
        assert found.memory_bytes is None or found.memory_bytes > 2**26  # Python and NumPy alone take 64 MiB


class TestCores:
    @pytest.mark.skipif(not hasattr(__import__("os"), "sched_setaffinity"), reason="affinity is Linux's")
    def test_honour_affinity(self):
        """A process that was put on one core may use one, however many there are."""
        program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        program += "from lince.system import machine; print(machine.cores())"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert "1" == done.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say")
class TestPeakMemory:
    def test_counts_what_was_held_for_a_moment(self):
        """64 MiB that were written to and given back still count, in this process and no longer in its child."""
        program = (
            "import subprocess, sys; from lince.system import machine; before = machine.peak_memory_bytes()\n"
            "held = bytearray(b'x') * 2**26; del held; own = machine.peak_memory_bytes()\n"
            "code = 'from lince.system import machine; print(machine.peak_memory_bytes())'\n"
            "child = int(subprocess.run([sys.executable, '-c', code], capture_output=True, check=True).stdout)\n"
            "print(before, own, child, machine.peak_memory_bytes(children=True))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        before, own, child, of_children = map(int, done.stdout.split())
        assert 0.9 * 2**26 < own - before < 1.5 * 2**26
        assert of_children >= 0.9 * child
        if sys.platform == "linux":
            assert child < own - 2**25

    def test_without_children_is_zero(self):
        """A process that started none: no memory of theirs."""
        program = "from lince.system import machine; print(machine.peak_memory_bytes(children=True))"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert "0" == done.stdout.strip()


class TestProcessorFlags:
    @pytest.mark.parametrize(
        ("cpuinfo", "expected"),
        [
            ("model name\t: Zen 4\nflags\t\t: fpu avx2\nbugs\t\t: spectre\n\nflags\t\t: fpu\n", {"fpu", "avx2"}),
            ("processor\t: 0\nFeatures\t: fp asimd\n", {"fp", "asimd"}),
            ("processor\t: 0\n", set()),
            ("", set()),
        ],
        ids=["x86", "arm", "neither", "not Linux"],
    )
    def test_are_those_of_the_first_core(self, monkeypatch, cpuinfo, expected):
        """By their Linux names, on x86 and on Arm; none where the system does not tell."""
        monkeypatch.setattr(machine, "_text", lambda path: cpuinfo)
        assert expected == machine.processor_flags()
