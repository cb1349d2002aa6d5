"""The runtime: the model file's answers, one image at a time, and refusals of files that do not do what they say."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils

import synthetic
from lince import calibration
from lince.errors import LinceError, ModelFileError
from lince.inference.classifier import Classifier
from lince.model_file import artifact, golden_images
from lince.model_file.golden_images import Golden
from lince.types import ImageSpec


@pytest.fixture(scope="module")
def classifier(run):
    """The model file of the tests' run."""
    return Classifier.load(run.model)


@pytest.fixture(scope="module")
def images():
    """Nine pictures, three of each class."""
    return synthetic.batch(9, seed=5)[0]


@pytest.fixture
def written(run, tmp_path):
    """Writes the run's model file anew with some parts exchanged, and returns its path."""

    def write(**changes):
        path = tmp_path / "changed.tflite"
        path.write_bytes(artifact.encode(replace(artifact.read(run.model), **changes)))
        return path

    return write


class TestPredict:
    def test_shapes_and_types(self, classifier, images):
        """One row an image and one column a class; probabilities sum to 1; no set is empty."""
        found = classifier.predict(images)
        assert (9, 3) == found.logits.shape == found.probabilities.shape == found.sets.shape
        assert (np.float32, np.float32, np.int64, bool, bool) == (
            found.logits.dtype,
            found.probabilities.dtype,
            found.indices.dtype,
            found.sets.dtype,
            found.abstain.dtype,
        )
        np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
        assert found.sets.any(axis=1).all()

    def test_learned_something(self, classifier):
        """New pictures of the tests' three classes are told apart."""
        images, labels = synthetic.batch(60, seed=99)
        assert (classifier.predict(images).indices == labels).mean() > 0.8

    def test_batches_change_nothing(self, classifier, images):
        """An answer does not depend on the images that it was asked together with."""
        together = classifier.predict(images)
        for index in range(len(images)):
            alone = classifier.predict(images[index : index + 1])
            np.testing.assert_array_equal(together.logits[index], alone.logits[0])
            np.testing.assert_array_equal(together.probabilities[index], alone.probabilities[0])

    def test_no_images(self, classifier):
        """An empty batch has empty answers."""
        assert (0, 3) == classifier.predict(np.empty((0, 32, 32, 3), np.uint8)).probabilities.shape

    def test_applies_the_file_s_calibration(self, classifier, images):
        """Temperature, sets and abstention are those of the manifest."""
        expected = calibration.apply(classifier.logits(images), classifier.manifest.calibration)
        np.testing.assert_array_equal(expected.probabilities, classifier.predict(images).probabilities)

    def test_views_and_other_strides(self, classifier, images):
        """Memory order does not matter."""
        flipped = images[:, :, ::-1]
        expected = classifier.predict(np.ascontiguousarray(flipped)).logits
        np.testing.assert_array_equal(expected, classifier.predict(flipped).logits)
        np.testing.assert_array_equal(classifier.logits(images), classifier.logits(np.asfortranarray(images)))

    def test_threads_take_turns(self, classifier):
        """Many threads at once get the answers that one would."""
        images, _ = synthetic.batch(96, seed=3)
        expected = classifier.logits(images)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda index: classifier.logits(images[index : index + 1])[0], range(len(images))))
        np.testing.assert_array_equal(expected, np.stack(found))

    def test_interpreter_threads_change_nothing(self, run, images, classifier):
        """The number of the interpreter's threads is a matter of speed."""
        np.testing.assert_array_equal(classifier.logits(images), Classifier.load(run.model, threads=2).logits(images))

    @pytest.mark.parametrize(
        ("shape", "dtype"),
        [((1, 32, 32, 3), np.float32), ((32, 32, 3), np.uint8), ((1, 32, 32, 1), np.uint8), ((1, 16, 32, 3), np.uint8)],
    )
    @pytest.mark.usefixtures("wrong_arrays")
    def test_refuses_other_images(self, classifier, shape, dtype):
        """Only u8[N,H,W,3] of the model's size; the sentence says what came and what reads images rightly."""
        received = rf"Received images {np.dtype(dtype)}\[{', '.join(map(str, shape))}\]"
        with pytest.raises(
            LinceError, match=rf"{received}\. Expected uint8\[N,32,32,3\]: read them with lince\.images"
        ):
            classifier.predict(np.zeros(shape, dtype))


class TestDistances:
    def test_pictures_of_other_things_are_further_away(self, classifier, dataset):
        """Noise is further from the training images than any test image."""
        noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
        near, far = (classifier.outputs(pictures).distances for pictures in (dataset.test.images[:], noise))
        assert near.max() < far.min()

    def test_are_those_of_the_prediction(self, classifier, images):
        """One run of the network gives both, in the order of the images."""
        found, alone = classifier.predict(images), [classifier.outputs(image[None]).distances[0] for image in images]
        np.testing.assert_array_equal(np.array(alone), found.distances)

    def test_a_network_without_features_has_none(self, run, written, images):
        """Its answers are the same."""
        content = bytearray(artifact.read(run.model).flatbuffer)
        model = flatbuffer_utils.read_model_from_bytearray(content)
        model.subgraphs[0].outputs = model.subgraphs[0].outputs[:1]  # a list, or an array with older versions of LiteRT
        del model.signatureDefs[0].outputs[1:]
        network = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
        digest = hashlib.sha256(network).hexdigest()
        manifest = replace(
            artifact.read(run.model).manifest,
            version=digest[:12],
            flatbuffer_sha256=digest,
            flatbuffer_bytes=len(network),
        )
        alone = Classifier.load(written(flatbuffer=network, manifest=manifest, familiarity=None))
        assert alone.predict(images).distances is None
        np.testing.assert_array_equal(Classifier.load(run.model).logits(images), alone.logits(images))


class TestLoad:
    def test_says_what_it_is(self, classifier, run):
        """Classes, image size, manifest and card come from the file."""
        assert ("disc", "square", "stripes") == classifier.classes
        assert ImageSpec() == classifier.image_spec
        assert "tiny" == classifier.manifest.name
        assert classifier.card.startswith(f"# tiny, version {classifier.manifest.version}")

    def test_takes_a_string(self, run, classifier):
        """A path may be a string."""
        assert classifier.manifest == Classifier.load(str(run.model)).manifest

    def test_golden_images_must_reproduce(self, run, written):
        """Logits further away than rounding explains: the network is not what was measured."""
        expected = artifact.read(run.model).golden
        off = expected.logits.copy()
        off[7, 1] += np.where(off[7, 1] > 0, -golden_images.TOLERANCE_STEPS - 1, golden_images.TOLERANCE_STEPS + 1)
        path = written(golden=Golden(expected.images, off))
        with pytest.raises(
            ModelFileError, match=r"changed\.tflite': its golden images give logits 3 steps away.*at most 2"
        ):
            Classifier.load(path)

    def test_rounding_is_tolerated(self, run, written):
        """Another processor may round a last step differently."""
        expected = artifact.read(run.model).golden
        off = np.where(expected.logits > 0, expected.logits - golden_images.TOLERANCE_STEPS, expected.logits)
        assert Classifier.load(written(golden=Golden(expected.images, off.astype(np.int8)))).classes

    def test_network_and_manifest_must_agree_on_classes(self, run, written):
        """A manifest that names more classes than the network has outputs."""
        model = artifact.read(run.model)
        classes = ("disc", "square", "stripes", "more")
        path = written(
            manifest=replace(model.manifest, classes=classes, drift_reference=None),
            golden=Golden(model.golden.images, np.zeros((32, 4), np.int8)),
        )
        with pytest.raises(
            ModelFileError, match=r"maps \(32, 32, 3, 3\) .*the manifest says \(32, 32, 3, 4\)\. Expected"
        ):
            Classifier.load(path)

    def test_network_and_manifest_must_agree_on_size(self, run, written):
        """A manifest that asks for images of another size than the network takes."""
        model, spec = artifact.read(run.model), ImageSpec(16, 16)
        path = written(
            manifest=replace(model.manifest, image=spec),
            golden=Golden(golden_images.draw_images(spec, seed=0), model.golden.logits),
        )
        with pytest.raises(ModelFileError, match=r"the manifest says \(16, 16, 3, 3\)"):
            Classifier.load(path)
