"""The Python client and the real server, each in a process of its own."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from server_process import ServerProcess, running_server

from lince.client import Answer, AsyncClient, Client
from lince.errors import LinceError, ServiceError
from lince.inference.classifier import Classifier
from lince.inference.explanation import explain, sentences
from lince.serving.api_keys import new_key


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


def check(found: list[Answer], pixels: np.ndarray, classifier: Classifier) -> None:
    """The answers are those of the classifier in this process, bit for bit."""
    expected = classifier.predict(pixels)
    np.testing.assert_array_equal(expected.logits, np.array([one.logits for one in found], np.float32))
    np.testing.assert_array_equal(expected.distances, np.array([one.distance for one in found], np.float32))
    assert [classifier.classes[index] for index in expected.indices] == [one.label for one in found]
    assert expected.indices.tolist() == [one.index for one in found]
    assert expected.abstain.tolist() == [one.abstain for one in found]
    assert {classifier.manifest.version} == {one.version for one in found}


def test_answers_are_those_of_the_classifier(server, pixels, classifier, tmp_path):
    """For arrays, files, bytes and PIL images, in one list that takes several requests."""
    files = []
    for index in range(3):
        Image.fromarray(pixels[index]).save(tmp_path / f"{index}.png")
        files.append(tmp_path / f"{index}.png")
    images = [*files[:2], files[2].read_bytes(), *map(Image.fromarray, pixels[3:6]), *pixels[6:]]
    with Client(server.url) as client:
        check(client.predict(images, logits=True), pixels, classifier)
        [best, second] = client.predict(pixels[0], top=2).top
    assert best.probability > second.probability


def test_asynchronous_calls_may_overlap(server, pixels, classifier):
    """The same answers, from calls that are all under way together."""

    async def run() -> list[Answer]:
        async with AsyncClient(server.url) as client:
            return await asyncio.gather(*(client.predict(image, logits=True) for image in pixels))

    check(asyncio.run(run()), pixels, classifier)


@pytest.mark.parametrize("label", [None, "dog", 5])
def test_explanations_are_those_of_the_classifier(server, pixels, classifier, label):
    """Of the answer, of a class by its label, and by its index."""
    expected = explain(classifier, pixels[0], None if label is None else 5)
    with Client(server.url) as client:
        found = client.explain(pixels[0], label)
        check([client.predict(pixels[0], logits=True)], pixels[:1], classifier)
        assert found.answer == client.predict(pixels[0])
    np.testing.assert_allclose(found.heat, expected.grid, rtol=1e-6)
    assert (found.label, found.index) == (classifier.classes[expected.index], expected.index)
    assert (found.without_most, found.without_least) == (expected.without_most, expected.without_least)
    assert found.sentences == sentences(expected, classifier.classes)


def test_what_cannot_be_explained(server, pixels):
    """One sentence, the service's where it knows more."""
    with Client(server.url) as client:
        with pytest.raises(ServiceError, match=r"Parameter 'class' received 'lynx'\. Expected a class of the model"):
            client.explain(pixels[0], "lynx")
        with pytest.raises(LinceError, match=r"Received 2 images\. Expected one"):
            client.explain(pixels[:2])
        with pytest.raises(ServiceError, match="not an image we read"):
            client.explain(b"no image")


def test_what_is_served(server, classifier):
    """Classes, size, limits, calibration and card; and readiness."""
    with Client(server.url, model="cifar10") as client:
        found = client.model()
        assert client.ready()
    manifest = classifier.manifest
    assert (manifest.classes, manifest.image, manifest.calibration) == (found.classes, found.image, found.calibration)
    assert (64, 10 * 2**20, classifier.card) == (found.limits.max_parts, found.limits.max_body_bytes, found.card)
    assert found.certificate is not None


def test_images_that_cannot_be_read(server, pixels):
    """The service's error, in their places; where no image of a request can be read, too."""
    with Client(server.url) as client:
        found = client.predict([pixels[0], b"text", b"", *pixels[1:14], b"text", b""])
        with pytest.raises(ServiceError, match="Received 4 bytes that are not an image") as caught:
            client.predict(b"text")
    codes = [one.error.code if one.error else None for one in found]
    assert [None, "unsupported_format", "empty_image", *[None] * 13, "unsupported_format", "empty_image"] == codes
    assert ("unsupported_format", 415) == (caught.value.code, caught.value.status)


def test_requests_keep_to_small_limits(pixels, classifier):
    """A server that takes two images and ten kilobytes: everything is answered but what is larger than that."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    with running_server(max_parts=2, max_body_bytes=10_000) as server, Client(server.url) as client:
        found = client.predict([*pixels, noise], logits=True)
        check(found[:-1], pixels, classifier)
        assert "body_too_large" == found[-1].error.code


def test_a_server_that_starts_late_is_waited_for(pixels):
    """Not ready while it is gone; and a restart on the same port is covered by the retries."""
    with running_server() as first, Client(first.url, timeout_s=60, retries=30) as client:
        expected = client.predict(pixels[0])
        first.process.terminate()
        first.process.wait()
        assert not client.ready()
        command = [Path(sys.executable).parent / "lince", "serve", "--port", str(first.port)]
        second = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert expected == client.predict(pixels[0])
        finally:
            second.terminate()
            second.wait()


def test_evaluation_of_a_server_is_that_of_its_file(lince, run, images_folder):
    """`lince evaluate URL` prints the report of `lince evaluate FILE`."""
    with running_server(model=run.model) as server:
        reports = []
        for model in (server.url, run.model):
            done = lince("evaluate", model, images_folder, "--json")
            assert (0, "") == (done.returncode, done.stderr)
            reports.append(json.loads(done.stdout))
    assert reports[0]["report"] == reports[1]["report"]
    assert reports[0]["sets"] == reports[1]["sets"]


def test_evaluation_of_a_server_with_keys(lince, run, images_folder, tmp_path, monkeypatch):
    """The key is in the environment, where no other user of the machine sees it."""
    key, line = new_key("measurer", "predict")
    (tmp_path / "keys.txt").write_text(line)
    with running_server(model=run.model, api_keys=tmp_path / "keys.txt") as server:
        refused = lince("evaluate", server.url, images_folder)
        monkeypatch.setenv("LINCE_API_KEY", key)
        assert lince("evaluate", server.url, images_folder).returncode == 0
    assert refused.returncode != 0
    assert "Authorization: Bearer KEY" in refused.stderr


def test_a_file_has_the_same_answer_as_its_image(server, tmp_path):
    """A JPEG that a camera turned: its path, and the same file opened by Pillow."""
    gradient = np.linspace(0, 255, 64, dtype=np.uint8)[:, None, None] * np.ones((1, 48, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gradient).save(tmp_path / "a.jpg", exif=exif)
    with Client(server.url) as client, Image.open(tmp_path / "a.jpg") as image:
        by_path, by_image = client.predict([tmp_path / "a.jpg", image], logits=True)
    assert by_path == by_image


def test_no_connection_is_made_again(server, pixels):
    """Requests of one client share a connection: the server sees one, however many they are."""
    port = server.port
    with Client(server.url) as client:
        for _ in range(5):
            client.predict(pixels[0])
        assert 1 == established(port)
    end = time.monotonic() + 10
    while established(port) and time.monotonic() < end:
        time.sleep(0.01)
    assert 0 == established(port)


def established(port: int) -> int:
    """Connections to a port of this machine that this process holds."""
    return sum(
        one.status == psutil.CONN_ESTABLISHED and bool(one.raddr) and one.raddr.port == port
        for one in psutil.Process().net_connections("tcp")
    )
