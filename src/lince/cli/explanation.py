"""What `lince explain` does: it explains one image, writes the picture and prints the sentences."""

import difflib
from pathlib import Path

from lince.cli.console import print_json, print_text, say, text_lines
from lince.cli.prediction import TOP_IN_JSON
from lince.errors import LinceError
from lince.system import quiet
from lince.system.files import write_atomically
from lince.text import listed, printable
from lince.types import ImageLimits


def explain(model: str, image: Path, *, label: str | None, out: Path | None, as_json: bool) -> None:
    """Explains an image.

    Args:
        model: see `artifact.locate`.
        image: the file.
        label: the class to explain; None takes the answer.
        out: the PNG file to write; None takes the image's name, in the current folder.
        as_json: print the result as JSON, with the heat map.

    Raises:
        LinceError: the model or the image cannot be used, there is no such class, or `out` is not a name for the
            picture.
        OSError: the picture cannot be written.
    """
    from lince.data.sources.directory import read_file
    from lince.images import decode
    from lince.inference import explanation, overlay
    from lince.inference.answers import answer
    from lince.inference.classifier import Classifier
    from lince.model_file import artifact

    if image.is_dir():
        raise LinceError(
            f"{printable(str(image))!r} is a folder. Expected one picture: lince explain MODEL PICTURE. lince predict "
            "takes folders."
        )
    out = Path(f"{image.stem}.explained.png") if out is None else out
    _require_png(out, image)
    with quiet.captured_stderr():
        classifier = Classifier.load(artifact.locate(model))
    classes, spec = classifier.classes, classifier.image_spec
    index = None if label is None else _index(label, classes)
    name = printable(str(image))
    try:
        data = read_file(image, ImageLimits().max_bytes)
        pixels, enlarged = decode(data, spec), decode(data, overlay.panel_spec(spec))
    except LinceError as error:
        raise LinceError(f"{name}: {error}") from error
    found = explanation.explain(classifier, pixels, index)
    write_atomically(out, overlay.draw(found, enlarged))
    row = {"path": name, **answer(found.prediction, 0, classes, top=min(TOP_IN_JSON, len(classes)))}
    if as_json:
        explained = {"label": classes[found.index], "index": found.index, "probability": found.probability}
        without = {"without_most": found.without_most, "without_least": found.without_least}
        picture = printable(str(out))
        print_json(row | {"explained": explained | without, "heat": found.heat.tolist(), "picture": picture})
        return
    text_lines([row])
    print_text(explanation.sentences(found, classes))
    say(f"Picture: {out}")


def _require_png(out: Path, image: Path) -> None:
    """Refuses a path that is not a place for a PNG file, before anything is computed."""
    received = f"Received --out {printable(str(out))!r}"
    if out.suffix.lower() != ".png" or out.is_dir():
        raise LinceError(f"{received}. Expected the name of a file that ends in .png.")
    if not out.parent.is_dir():
        raise LinceError(f"{received}, whose folder does not exist. Expected a name in a folder that does: make it.")
    if out.exists() and image.exists() and out.samefile(image):
        raise LinceError(f"{received}, which is the image itself. Expected another file: it would be overwritten.")


def _index(label: str, classes: tuple[str, ...]) -> int:
    """The index of a class that the user named."""
    if label not in classes:
        near = difflib.get_close_matches(label, classes, 1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise LinceError(f"Received --class {label!r}.{meant} Expected a class of the model: {listed(classes)}.")
    return classes.index(label)
