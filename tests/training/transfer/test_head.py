"""The head of a pretrained network: what it answers, and its file."""

import numpy as np
import pytest
from tests.training.transfer.drawn import CLASSES, draw

from lince import metrics
from lince.errors import ResumeError, TrainingError
from lince.training.transfer import cross_validation, head


def test_head_tells_new_images_apart():
    """Its loss and accuracy are those of the images as they are, and it is right about others of the same classes."""
    features, labels = draw(90)
    found = head.fit(features, labels, num_classes=CLASSES, seed=0)
    logits = features[:, 0].astype(np.float32) @ found.kernel + found.bias
    assert (logits.argmax(axis=1) == labels).mean() == found.accuracy
    loss = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(90), labels]
    assert pytest.approx(loss.mean(), rel=1e-4) == found.loss
    others, their_labels = draw(300, seed=1)
    answers = (others[:, 0].astype(np.float32) @ found.kernel + found.bias).argmax(axis=1)
    assert (answers == their_labels).mean() > 0.8


def test_strength_is_chosen_or_given():
    """Without a strength it is that of the cross-validation, which sees the groups too."""
    features, labels = draw(90)
    options = {"num_classes": CLASSES, "seed": 0}
    groups = np.arange(90) // 6
    chosen = cross_validation.choose_strength(features, labels, **options, groups=groups)
    assert chosen == head.fit(features, labels, **options, groups=groups).strength
    assert head.fit(features, labels, **options, strength=0.5).strength == 0.5


def test_fine_tuning_begins_unsure():
    """The layer that it begins with is less sure of the training images, and is fitted to them as well."""
    features, labels = draw(90)
    found = head.fit(features, labels, num_classes=CLASSES, strength=0.01, seed=0)

    def sureness(kernel: np.ndarray, bias: np.ndarray) -> float:
        answers = metrics.softmax(features[:, 0].astype(np.float32) @ kernel + bias)
        return float(answers[np.arange(90), labels].mean())

    assert 1 / CLASSES < sureness(found.unsure_kernel, found.unsure_bias) < sureness(found.kernel, found.bias)


def test_file_keeps_the_head(tmp_path):
    """What is read is what was written, to the bit."""
    features, labels = draw(30)
    written = head.fit(features, labels, num_classes=CLASSES, strength=0.1, seed=0)
    head.save(tmp_path / "head.npz", written)
    found = head.read(tmp_path / "head.npz")
    for name, value in vars(written).items():
        assert np.array_equal(value, getattr(found, name)), name


def test_file_that_is_damaged_or_cannot_be_written(tmp_path):
    """One sentence each."""
    with pytest.raises(
        ResumeError, match=r"head.npz' cannot be read \(No such file or directory\)\. Start a new run\."
    ):
        head.read(tmp_path / "head.npz")
    (tmp_path / "head.npz").write_bytes(b"PK damaged")
    with pytest.raises(ResumeError, match=r"cannot be read \(it is damaged or cut short\)"):
        head.read(tmp_path / "head.npz")
    features, labels = draw(30)
    fitted = head.fit(features, labels, num_classes=CLASSES, strength=0.1, seed=0)
    with pytest.raises(TrainingError, match=r"could not be written \(No such file or directory\)\. Free disk space"):
        head.save(tmp_path / "missing" / "head.npz", fitted)
