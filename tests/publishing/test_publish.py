"""What publishing writes into the model file."""

from lince import drift
from lince.inference import interpreter
from lince.model_file import artifact
from lince.runs.run_folder import RunFolder
from lince.types import Dataset


def test_reference_for_drift_is_of_the_validation_images(trained_run: RunFolder, dataset: Dataset):
    """As the network reads them, and as the published network answers them; no test image is among them."""
    model = artifact.read(trained_run.model)
    images = dataset.train.take(trained_run.read_splits()["validation"]).images
    predicted = interpreter.logits(model.flatbuffer, images).argmax(axis=1)
    assert model.manifest.drift_reference == drift.reference(images, predicted, num_classes=3)
