"""`lince feedback export`: corrections of visitors as a dataset, a folder for each class."""

from collections import Counter
from pathlib import Path

from lince.cli.console import say
from lince.errors import LinceError
from lince.serving.feedback_store import FeedbackStore
from lince.serving.settings import ServeSettings
from lince.system.files import write_atomically
from lince.text import quantity


def export(settings: ServeSettings, folder: Path) -> None:
    """Writes the corrections of the settings' database into a folder, and says how many.

    Raises:
        LinceError: no database is named, it cannot be used or is empty, or the folder has something in it.
    """
    if settings.feedback is None:
        raise LinceError("No database of corrections is named. Set LINCE_FEEDBACK as for the service.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LinceError(f"{str(folder)!r} is not empty. Expected a folder that does not exist yet, or is empty.")
    store = FeedbackStore(settings.feedback, days=settings.feedback_days, most=settings.feedback_max)
    counts: Counter[str] = Counter()
    try:
        store.purge()
        for correction in store:
            target = folder / _folder_name(correction.label) / f"{correction.id}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, correction.png)
            counts[correction.label] += 1
    finally:
        store.close()
    if not counts:
        raise LinceError("The database holds no corrections.")
    classes = ", ".join(f"{label} {count:,}" for label, count in sorted(counts.items()))
    say(f"Wrote {quantity(counts.total(), 'picture')} into {str(folder)!r}: {classes}.")


def _folder_name(label: str) -> str:
    """The label, which is a folder's name unless a foreign model file has chosen it."""
    if label in ("", ".", "..") or any(mark in label for mark in "/\\\0:"):
        raise LinceError(f"The label {label!r} cannot be the name of a folder. Delete its corrections in the database.")
    return label
