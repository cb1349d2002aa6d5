"""Encoded images: their structure, read without decoding them, and their decoding by Pillow.

NumPy is not imported here, so that the process that decodes for the service stays small (`serving/decoder.py`).
"""

from lince.encoded_image.formats import REWRITTEN, inspect
from lince.encoded_image.structure import Structure

__all__ = ["REWRITTEN", "Structure", "inspect"]
