"""Lince: from labelled images to a small, fast, honest classifier in production."""

__version__ = "0.1.0"
