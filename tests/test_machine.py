"""The machine is described in one line, whatever it is."""

import platform

from lince import machine


class TestDescribe:
    def test_is_one_line(self):
        """Processor, cores, system and Python, as a certificate quotes them."""
        found = machine.describe()
        assert 1 == len(found.splitlines())
        assert f"Python {platform.python_version()}" in found
        assert "cores" in found


class TestProcessorFlags:
    def test_are_words(self):
        """A set of names; empty where the system does not tell."""
        found = machine.processor_flags()
        assert all(flag and flag.split() == [flag] for flag in found)
