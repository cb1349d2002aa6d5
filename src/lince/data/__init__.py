"""Labelled images: reading them, splitting them, and finding what is wrong with them.

sources ─► Reading ─► cache ─► Collection ─► load: splits → Dataset
                                       └───► check: CheckReport
"""

from lince.data.loading import CheckReport, check, is_searched, join, leaked, load, probe
from lince.data.progress import Progress
from lince.data.splits import hold_out, stratified_split

__all__ = [
    "CheckReport",
    "Progress",
    "check",
    "hold_out",
    "is_searched",
    "join",
    "leaked",
    "load",
    "probe",
    "stratified_split",
]
