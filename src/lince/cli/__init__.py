"""The command line: commands, and what they print."""

from lince.system import garbage

with garbage.paused():
    from lince.cli.commands import main

__all__ = ["main"]
