"""The command line: commands, and what they print."""

from lince.cli.commands import main

__all__ = ["main"]
