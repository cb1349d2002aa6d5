"""The command line: verbs, and what they print."""

from lince.cli.commands import main

__all__ = ["main"]
