"""Explanations wait in a short queue, give way to other requests, and end early when nobody needs them."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
import pytest
from app_client import RAW, AppClient, MakeClient, Png

from lince.inference.classifier import Classifier
from lince.inference.explanation import explain
from lince.serving import explanation_queue
from lince.serving.errors import RequestError
from lince.serving.explanation_queue import ExplanationQueue, _Pace

COPIES = 131


class Counting:
    """The model that ships; counts the images that it has answered."""

    def __init__(self, classifier: Classifier):
        self._classifier = classifier
        self.classes, self.manifest = classifier.classes, classifier.manifest
        self.count = 0

    def predict(self, images):
        self.count += len(images)
        return self._classifier.predict(images)

    def logits(self, images):
        self.count += len(images)
        return self._classifier.logits(images)


@pytest.fixture
def counting(classifier: Classifier) -> Counting:
    """A model that counts."""
    return Counting(classifier)


@pytest.fixture
def pixels(classifier: Classifier) -> np.ndarray:
    """A picture of the model's size."""
    return np.random.default_rng(0).integers(0, 256, classifier.image_spec.shape, np.uint8)


@pytest.fixture
def queue():
    """A queue beside which other requests are answered, so that explanations are slow."""
    queue = ExplanationQueue(lambda: True)
    yield queue
    queue.close()


async def stays() -> bool:
    """A client that waits for its answer."""
    return False


async def reaches(condition: Callable[[], bool]) -> None:
    """Waits for it."""
    while not condition():
        await asyncio.sleep(0.001)


def test_gives_the_explanation(queue, counting, classifier, pixels):
    """It is that of `explain`, whatever else is answered meanwhile."""
    found = asyncio.run(queue.explain(counting, pixels, 3, is_gone=stays))
    np.testing.assert_array_equal(explain(classifier, pixels, 3).heat, found.heat)
    assert (3, COPIES, 0) == (found.index, counting.count, len(queue))


def test_computes_one_at_a_time(queue, counting, pixels):
    """While one explanation is computed, the others wait and do not begin."""

    async def three() -> list[int]:
        tasks = [asyncio.create_task(queue.explain(counting, pixels, None, is_gone=stays)) for _ in range(3)]
        counts = []
        for task in tasks:
            await task
            counts.append(counting.count)
        return counts

    counts = asyncio.run(three())
    assert all(COPIES * (place + 1) <= count < COPIES * (place + 2) for place, count in enumerate(counts))


def test_few_wait(queue, counting, pixels):
    """The fifth is refused, and there is room again afterwards."""

    async def five() -> list[object]:
        explanations = [queue.explain(counting, pixels, None, is_gone=stays) for _ in range(5)]
        return await asyncio.gather(*explanations, return_exceptions=True)

    found = asyncio.run(five())
    [refused] = [one for one in found if isinstance(one, RequestError)]
    assert ("overloaded", "4 explanations are under way already. Try again in a second.") == (
        refused.code,
        str(refused),
    )
    queue.check_room()


def test_ends_when_the_client_has_gone(queue, counting, pixels, monkeypatch):
    """The work stops between two copies; one that has not begun does not begin."""
    monkeypatch.setattr(explanation_queue, "_POLL_S", 0.005)

    async def left() -> bool:
        return counting.count > 5

    async def gone() -> bool:
        return True

    async def both() -> list[object]:
        explanations = (queue.explain(counting, pixels, None, is_gone=one) for one in (left, gone))
        return await asyncio.gather(*explanations, return_exceptions=True)

    assert ["incomplete_body"] * 2 == [error.code for error in asyncio.run(both())]
    queue.close()
    assert 5 < counting.count < COPIES


def test_ends_when_its_task_is_cancelled(queue, counting, pixels):
    """So it is at the end of the time that a stop gives."""

    async def cancelled() -> None:
        task = asyncio.create_task(queue.explain(counting, pixels, None, is_gone=stays))
        await reaches(lambda: counting.count > 5)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(cancelled())
    queue.close()
    assert counting.count < COPIES
    assert 0 == len(queue)


def test_has_a_deadline(queue, counting, pixels, monkeypatch):
    """An explanation that has no time left ends with an error that says so."""
    monkeypatch.setattr(explanation_queue, "DEADLINE_S", 0.05)
    with pytest.raises(
        RequestError, match=r"^The explanation took more than 0\.05 s, because the server is busy"
    ) as error:
        asyncio.run(queue.explain(counting, pixels, None, is_gone=stays))
    assert "explanation_timeout" == error.value.code
    assert counting.count < COPIES


def test_close_drops_all(queue, counting, pixels):
    """The one that is computed, those that wait, and those that come later are told that the service stops."""

    async def stop() -> tuple[float, list[object]]:
        tasks = [asyncio.create_task(queue.explain(counting, pixels, None, is_gone=stays)) for _ in range(3)]
        await reaches(lambda: counting.count > 5)
        start = time.monotonic()
        queue.close()
        took_s = time.monotonic() - start
        tasks.append(asyncio.create_task(queue.explain(counting, pixels, None, is_gone=stays)))
        return took_s, await asyncio.gather(*tasks, return_exceptions=True)

    took_s, found = asyncio.run(stop())
    assert ["shutting_down"] * 4 == [error.code for error in found]
    assert counting.count < COPIES
    assert took_s < 2


@pytest.mark.parametrize("busy", [True, False])
def test_gives_way_to_other_requests(classifier: Classifier, pixels: np.ndarray, monkeypatch, busy: bool):
    """Beside other requests it pauses after each copy, six times as long as the copy computes; alone it does not."""
    paused_s = []
    pace = _Pace(lambda: busy)
    monkeypatch.setattr(pace.ended, "wait", paused_s.append)
    pace.keep()
    began_s = time.thread_time()
    classifier.logits(pixels[None])
    took_s = time.thread_time() - began_s
    pace.keep()
    assert int(busy) == len(paused_s)
    assert sum(paused_s) >= 6 * took_s * busy


@pytest.mark.waits
def test_explanations_count_in_the_queue(make_client: MakeClient, png: Png):
    """With room for two requests, two explanations leave none for a third request of any kind; then there is again."""
    client = make_client(max_waiting=2)

    async def crowd() -> list[int]:
        tasks = [asyncio.create_task(client.send("POST", "/explain", content=png(), headers=RAW)) for _ in range(2)]
        inference = client.app.state.service.ready.inference
        await reaches(lambda: len(inference.explanations) == 2)
        refused = [(await client.send("POST", path, content=png(), headers=RAW)) for path in ("/predict", "/explain")]
        assert refused[0].json()["error"]["message"].startswith("2 requests are waiting already.")
        return [one.status_code for one in [*refused, await client.send("GET", "/readyz"), *[await t for t in tasks]]]

    assert [503, 503, 503, 200, 200] == client.run(crowd())
    assert 200 == client.post("/predict", content=png(), headers=RAW).status_code


def test_small_pictures_are_answered_meanwhile(client: AppClient, png: Png):
    """Ten small pictures are answered before one explanation is ready."""

    async def beside() -> tuple[list[int], bool, int]:
        explaining = asyncio.create_task(client.send("POST", "/explain", content=png(), headers=RAW))
        await reaches(lambda: len(client.app.state.service.ready.inference.explanations) == 1)
        small = [(await client.send("POST", "/predict", content=png(), headers=RAW)).status_code for _ in range(10)]
        return small, explaining.done(), (await explaining).status_code

    assert ([200] * 10, False, 200) == client.run(beside())
