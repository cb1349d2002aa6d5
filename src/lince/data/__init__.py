"""Labelled images: reading them, splitting them, and finding what is wrong with them.

sources ─► Reading ─► cache ─► Collection ─► load: splits → Dataset
                                       └───► check: CheckReport
"""

from lince.data.audit import CheckReport, check
from lince.data.division import EarlierSplit
from lince.data.loading import load, probe
from lince.data.overlap import leaked
from lince.data.overview import Overview, survey
from lince.data.splits import hold_out, join, sample, split_warnings, stratified_split

__all__ = [
    "CheckReport",
    "EarlierSplit",
    "Overview",
    "check",
    "hold_out",
    "join",
    "leaked",
    "load",
    "probe",
    "sample",
    "split_warnings",
    "stratified_split",
    "survey",
]
