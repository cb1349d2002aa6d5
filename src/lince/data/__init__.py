"""Labelled images: reading them, splitting them, and finding what is wrong with them.

sources ─► Reading ─► cache ─► Collection ─► load: splits → Dataset
                                       └───► check: CheckReport
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
_MODULES = {
    "audit": ("CheckReport", "check"),
    "division": ("EarlierSplit",),
    "loading": ("load", "probe"),
    "overlap": ("leaked",),
    "overview": ("Overview", "survey"),
    "splits": ("hold_out", "join", "sample", "split_warnings", "stratified_split"),
}


def __getattr__(name: str) -> Any:
    """Imports a module when it is first needed: whoever reads files alone, from `data.sources`, waits for none."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"lince.data.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
