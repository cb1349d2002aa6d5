"""Encoded images: what they are made of, without decoding them, and Pillow's decoding. NumPy is not imported here."""

from lince.encoded_image.formats import REWRITTEN, inspect
from lince.encoded_image.structure import Structure

__all__ = ["REWRITTEN", "Structure", "inspect"]
