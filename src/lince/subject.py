"""What can be evaluated: a float model, a model file, a running server; each becomes a `Predict`."""

from dataclasses import dataclass
from pathlib import Path

from lince import remote
from lince.classifier import Classifier
from lince.errors import LinceError
from lince.records import ImageSpec, Predict
from lince.run import RunFolder

# A batch of 16 images takes milliseconds; half a minute of silence means that nobody answers.
_SERVER_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Subject:
    """Something that answers.

    Attributes:
        predict: images u8[n,H,W,3] → probabilities f32[n,K].
        classes: K labels, in the order of the columns.
        spec: the images it wants.
        classifier: the model file itself, when it is one.
        run: the run folder it lies in, when it lies in one.
    """

    predict: Predict
    classes: tuple[str, ...]
    spec: ImageSpec
    classifier: Classifier | None = None
    run: Path | None = None


def find(model: str) -> Subject:
    """Opens what a user named.

    Args:
        model: the path of a `.tflite` or `.keras` file, a run folder (its model file), or the address of a server.

    Raises:
        LinceError: there is no such thing, or it does not work.
    """
    if model.startswith(("http://", "https://")):
        return _server(model)
    path = Path(model)
    if path.is_dir():
        path = path / "model.tflite"
    run = path.parent if (path.parent / "run.json").exists() else None
    if path.suffix == ".keras":
        return _float_model(path, run)
    classifier = Classifier.load(path)
    return Subject(classifier.probabilities, classifier.classes, classifier.image_spec, classifier, run)


def _server(url: str) -> Subject:
    served = remote.served_model(url, timeout_s=_SERVER_TIMEOUT_S)
    predict = remote.server_predict(url, served.classes, timeout_s=_SERVER_TIMEOUT_S)
    return Subject(predict, served.classes, served.image)


def _float_model(path: Path, run: Path | None) -> Subject:
    if run is None:
        raise LinceError(
            f"{str(path)!r} does not lie in a run folder, whose run.json would name its classes. "
            "Expected RUN/model.keras, or a .tflite file, which carries them itself."
        )
    from lince.training import backend

    backend.prepare()
    from lince.training import pipeline, recipe

    folder = RunFolder(run)
    record = folder.read_record()
    predict = pipeline.float_predict(pipeline.trained_model(folder))
    return Subject(predict, record.classes, recipe.from_table(record.recipe, source=str(run)).spec, run=run)
