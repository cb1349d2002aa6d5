"""The models that answer, by name. A swap replaces an entry: a request keeps the model that it began with."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from lince.errors import ModelFileError
from lince.images import FORMATS
from lince.inference.classifier import Classifier
from lince.serving.errors import RequestError
from lince.serving.schemas import FeedbackTerms, Limits, ModelAnswer, ModelName
from lince.serving.settings import ServeSettings
from lince.system import machine, quiet

OnChange = Callable[["ServedModel | None", "ServedModel | None"], None]
"""Called with the model that answered before and the one that answers now: both, or one of them."""

_MAX_SHOWN = 100  # characters of a name that a client sent


@dataclass(frozen=True)
class ServedModel:
    """A model that answers.

    Attributes:
        name: its name and version, as the answers have them.
        classifier: the model itself.
        description: the answer of `/model`, as JSON.
    """

    name: ModelName
    classifier: Classifier
    description: bytes


class Models:
    """Used by requests on the event loop, and changed by a thread that has loaded another version."""

    def __init__(self, served: Iterable[ServedModel], *, default: str | None = None):
        """
        Args:
            served: at least one.
            default: the name of the model that answers when a request names none; the first in order of names for None.

        Raises:
            ModelFileError: two have the same name, or none has the default's.
        """
        self._by_name: dict[str, ServedModel] = {}
        self._on_change: OnChange | None = None
        for one in served:
            if one.name.name in self._by_name:
                raise ModelFileError(
                    f"Two of the models are named {one.name.name!r}. Expected different names: put the files into a "
                    "folder for --models, where the name of a file is that of its model."
                )
            self._by_name[one.name.name] = one
        self._default = default
        if default not in (None, *self._by_name):
            raise ModelFileError(f"The default model is to be {default!r}. Expected {self._known()}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models, the default first."""
        return (self.default, *sorted(self._by_name.keys() - {self.default}))

    @property
    def default(self) -> str:
        """The name of the model that answers when a request names none."""
        return self._default or min(self._by_name)

    def find(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """A model by its name; the default for None.

        Raises:
            RequestError: there is none of that name, or the one that answers is of another version.
        """
        name = self.default if name is None else name
        found = self._by_name.get(name)
        if found is None or version not in (None, found.name.version):
            of_version = "" if version is None else f" of version {version[:_MAX_SHOWN]!r}"
            known = self._known() if found is None else f"version {found.name.version!r}"
            message = f"There is no model {name[:_MAX_SHOWN]!r}{of_version}. Expected {known}."
            raise RequestError("not_found", message)
        return found

    def put(self, new: ServedModel) -> None:
        """Lets a model answer from now on, instead of the one of its name, if there is one."""
        old = self._by_name.get(new.name.name)
        self._by_name[new.name.name] = new
        self._tell(old, new)

    def remove(self, name: str) -> None:
        """Lets a model answer no longer."""
        self._tell(self._by_name.pop(name), None)

    def watch(self, on_change: OnChange) -> None:
        """Tells of each model now, and of each change from now on."""
        self._on_change = on_change
        for one in self._by_name.values():
            on_change(None, one)

    def _tell(self, old: ServedModel | None, new: ServedModel | None) -> None:
        if self._on_change is not None:
            self._on_change(old, new)

    def _known(self) -> str:
        return " or ".join(repr(name) for name in list(self._by_name)[:10])


def served(classifier: Classifier, settings: ServeSettings, name: str | None = None) -> ServedModel:
    """A model as it is served.

    Args:
        classifier: loaded and verified.
        settings: their limits are part of the description.
        name: the manifest's for None.
    """
    manifest = classifier.manifest
    named = ModelName(name or manifest.name, manifest.version)
    answer = ModelAnswer(
        name=named.name,
        version=named.version,
        created=manifest.created,
        classes=manifest.classes,
        image=manifest.image,
        arithmetic=manifest.arithmetic,
        calibration=replace(manifest.calibration),  # msgspec omits defaults that the file did not name
        certificate=manifest.certificate,
        verdict=manifest.verdict,
        pretrained=manifest.pretrained,
        curves=manifest.curves,
        limits=Limits(settings.max_parts, settings.max_body_bytes, settings.max_pixels, FORMATS),
        feedback=None if settings.feedback is None else FeedbackTerms(settings.feedback_days),
        card=classifier.card,
    )
    return ServedModel(named, classifier, msgspec.json.encode(answer))


def read(path: Path, settings: ServeSettings) -> Classifier:
    """A verified and warmed classifier that uses as many threads as the service may."""
    return Classifier.load(path, threads=min(settings.threads, machine.cores()), sha256=settings.sha256)


def load(paths: Sequence[Path], settings: ServeSettings) -> Models:
    """Reads, verifies and warms model files. The first one is the default.

    Raises:
        ModelFileError: a file is not valid, or two models have the same name.
    """
    with quiet.captured_stderr():
        found = [served(read(path, settings), settings) for path in paths]
    return Models(found, default=found[0].name.name)
