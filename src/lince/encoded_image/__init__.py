"""Encoded images: their structure, read without decoding them, and their decoding by Pillow.

A picture that costs too much is refused in this order:

1. `formats.inspect`: more parts (scans, chunks, blocks …) than a picture in use has.
   Each format's module has its limits.
2. `decoding.read`: more pixels, or more memory to decode them, than `image_spec.ImageLimits` allows.
3. In the service, `serving/inference_queue.py` sends large and unusual pictures to a process of their own. There the
   kernel limits CPU time and memory.

NumPy is not imported here, so that the process that decodes for the service stays small (`serving/decoder_program.py`).
"""

from lince.encoded_image.formats import REWRITTEN, inspect
from lince.encoded_image.structure import Structure

__all__ = ["REWRITTEN", "Structure", "inspect"]
