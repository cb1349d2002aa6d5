"""Predictions for files, folders and zip files, in constant memory."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lince.data.sources.image_files import iter_images
from lince.errors import LinceError
from lince.images import decode
from lince.inference.answers import answer
from lince.inference.classifier import Classifier


def predict_paths(
    classifier: Classifier, paths: Iterable[Path], *, top: int, logits: bool = False
) -> Iterator[dict[str, Any]]:
    """Answers for every image, one at a time, in the order of `paths` and sorted within each.

    Args:
        classifier: the model.
        paths: images, folders (read recursively) and `.zip` files.
        top: classes to list for each image.
        logits: add the network's raw output.

    Yields:
        `{"path": …}` with the fields of `answers.answer`, or with `"error"`, a sentence, for a file that is no image.
    """
    for name, data in iter_images(paths):
        try:
            if isinstance(data, LinceError):
                raise data
            prediction = classifier.predict(decode(data, classifier.image_spec)[None])
        except LinceError as error:
            yield {"path": name, "error": str(error)}
        else:
            yield {"path": name, **answer(prediction, 0, classifier.classes, top=top, logits=logits)}
