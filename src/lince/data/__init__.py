"""Labelled images: reading them, splitting them, and finding what is wrong with them.

sources ─► Reading ─► cache ─► Collection ─► load: splits → Dataset
                                       └───► check: CheckReport
"""

from lince.data.audit import CheckReport, check
from lince.data.loading import load, probe
from lince.data.overlap import is_searched, leaked
from lince.data.splits import hold_out, join, stratified_split

__all__ = [
    "CheckReport",
    "check",
    "hold_out",
    "is_searched",
    "join",
    "leaked",
    "load",
    "probe",
    "stratified_split",
]
