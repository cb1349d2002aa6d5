"""`POST /feedback` and `DELETE /feedback/ID`."""

import io
import sqlite3
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from app_client import RAW, AppClient, MakeClient, Png, form
from PIL import Image

from lince.errors import ServiceError
from lince.inference.classifier import Classifier
from lince.serving.api_keys import new_key
from lince.serving.app import create_app
from lince.serving.feedback_store import Correction, FeedbackStore
from lince.serving.settings import ServeSettings


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'feedback.db'}"


@pytest.fixture
def taking(make_client: MakeClient, database: str) -> AppClient:
    """A client of an app that takes corrections."""
    return make_client(feedback=database, feedback_days=7)


def stored(database: str) -> list[Correction]:
    store = FeedbackStore(database, days=3650, most=1)
    try:
        return list(store)
    finally:
        store.close()


def photograph(size: tuple[int, int] = (60, 40), orientation: int = 6) -> bytes:
    """A JPEG with a place, a comment and a thumbnail of itself; it is shown turned."""
    image = Image.new("RGB", size, (250, 10, 10))
    image.paste((10, 10, 250), (0, 0, size[0] // 2, size[1]))
    exif = image.getexif()
    exif[0x0112] = orientation
    exif[0x010E] = "SECRET DESCRIPTION"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (38.0, 43.0, 21.0)
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif, comment=b"SECRET COMMENT", icc_profile=b"SECRET PROFILE", quality=95)
    return file.getvalue()


def test_a_correction_is_stored_for_some_days(taking: AppClient, database: str, png: Png):
    """The picture's own pixels under the class that the visitor names, with the model that had answered."""
    response = taking.post("/feedback?label=cat", content=png(3), headers=RAW)
    assert 201 == response.status_code
    answer, [correction] = response.json(), stored(database)
    model = taking.get("/model").json()
    assert {"id": correction.id, "label": "cat"}.items() <= answer.items()
    assert {"name": model["name"], "version": model["version"]} == answer["model"]
    assert (model["name"], model["version"], "cat") == (correction.model, correction.version, correction.label)
    assert 7 * 86_400 == pytest.approx(datetime.fromisoformat(answer["expires"]).timestamp() - time.time(), abs=60)
    np.testing.assert_array_equal(*(np.asarray(Image.open(io.BytesIO(one))) for one in (png(3), correction.png)))


def test_metadata_is_not_stored(taking: AppClient, database: str):
    """Neither place nor text nor profile; the picture is upright without them."""
    assert 201 == taking.post("/feedback?label=cat", content=photograph(), headers=RAW).status_code
    [correction] = stored(database)
    image = Image.open(io.BytesIO(correction.png))
    assert b"SECRET" in photograph()
    assert b"SECRET" not in correction.png
    assert ({}, {}, (40, 60)) == (image.info, dict(image.getexif()), image.size)
    top, bottom = (np.asarray(image)[row].mean(axis=0) for row in (5, -5))
    assert top[2] > top[0]  # what was at the left is on top
    assert bottom[0] > bottom[2]


def test_large_pictures_are_stored_smaller(taking: AppClient, database: str):
    """512 pixels at the longer side, in the same shape."""
    taking.post("/feedback?label=cat", content=photograph((2000, 1000), orientation=1), headers=RAW)
    [correction] = stored(database)
    assert (512, 256) == Image.open(io.BytesIO(correction.png)).size


def test_a_correction_can_be_taken_back(taking: AppClient, database: str, png: Png):
    """By its id, once."""
    id = taking.post("/feedback?label=cat", content=png(), headers=RAW).json()["id"]
    first, second = (taking.request("DELETE", f"/feedback/{id}") for _ in range(2))
    assert (204, b"") == (first.status_code, first.content)
    assert (404, "not_found") == (second.status_code, second.json()["error"]["code"])
    assert [] == stored(database)


@pytest.mark.parametrize(
    ("query", "content", "status", "code"),
    [
        ("", None, 422, "invalid_parameter"),
        ("?label=unicorn", None, 422, "invalid_parameter"),
        ("?label=cat&model=other", None, 404, "not_found"),
        ("?label=cat", b"no picture", 415, "unsupported_format"),
        ("?label=cat", b"", 400, "empty_image"),
        ("?label=cat", photograph()[:400], 400, "corrupt_image"),
    ],
)
def test_what_cannot_be_stored_is_explained(
    taking: AppClient, database: str, png: Png, query: str, content: bytes | None, status: int, code: str
):
    """Every error has our shape, and nothing is stored."""
    response = taking.post(f"/feedback{query}", content=png() if content is None else content, headers=RAW)
    assert (status, code) == (response.status_code, response.json()["error"]["code"])
    assert [] == stored(database)


def test_one_picture_is_corrected_at_a_time(taking: AppClient, png: Png):
    """A form with two is refused."""
    response = taking.post("/feedback?label=cat", **form(png(0), png(1)))
    assert (413, "too_many_parts") == (response.status_code, response.json()["error"]["code"])


def test_no_corrections_are_taken_unless_they_are_wanted(client: AppClient, png: Png):
    """Without a database both addresses say so, and so does the model's description."""
    for response in (
        client.post("/feedback?label=cat", content=png(), headers=RAW),
        client.request("DELETE", f"/feedback/{'0' * 32}"),
    ):
        assert (404, "not_found") == (response.status_code, response.json()["error"]["code"])
        assert "LINCE_FEEDBACK" in response.json()["error"]["message"]
    assert client.get("/model").json()["feedback"] is None


def test_the_model_says_how_long_corrections_are_kept(taking: AppClient):
    """The page shows it before a picture is sent."""
    assert {"retention_days": 7} == taking.get("/model").json()["feedback"]


def test_corrections_of_one_client_are_limited(taking: AppClient, png: Png):
    """Who sends more than a hand can gets 429 with a time to wait."""
    answers = [taking.post("/feedback?label=cat", content=png(), headers=RAW) for _ in range(4)]
    refused = [one for one in answers if one.status_code == 429]
    assert answers[0].status_code == 201
    assert refused[0].json()["error"]["code"] == "rate_limited"
    assert int(refused[0].headers["retry-after"]) >= 1


def test_a_full_table_takes_no_more(make_client: MakeClient, database: str, png: Png):
    """Its bound is a setting."""
    client = make_client(feedback=database, feedback_max=1)
    first, second = (client.post("/feedback?label=cat", content=png(), headers=RAW) for _ in range(2))
    assert (201, 507) == (first.status_code, second.status_code)
    assert "feedback_full" == second.json()["error"]["code"]


def test_a_database_that_fails_is_not_told_to_visitors(taking: AppClient, tmp_path: Path, png: Png):
    """The answer is a 503; the reason is for the log."""
    with sqlite3.connect(tmp_path / "feedback.db") as connection:
        connection.execute("DROP TABLE lince_feedback")
    connection.close()
    response = taking.post("/feedback?label=cat", content=png(), headers=RAW)
    assert (503, "feedback_unavailable") == (response.status_code, response.json()["error"]["code"])
    assert "sqlite" not in response.text
    assert 200 == taking.post("/predict", content=png(), headers=RAW).status_code


def test_old_corrections_go_at_the_start(make_client: MakeClient, database: str):
    """Retention holds when nobody corrects any more."""
    store = FeedbackStore(database, days=3650, most=9)
    store.add(Correction("cifar10", "b957598fa5f3", "cat", b"png", created_s=int(time.time()) - 8 * 86_400))
    store.close()
    client = make_client(feedback=database, feedback_days=7)
    client.get("/livez")
    end = time.monotonic() + 10
    while stored(database) and time.monotonic() < end:
        client.get("/livez")
    assert [] == stored(database)


def test_keys_hold_for_corrections(make_client: MakeClient, database: str, tmp_path: Path, png: Png):
    """Where the service has keys, one is needed to store and to delete."""
    key, line = new_key("visitor", "predict")
    (tmp_path / "keys.txt").write_text(line)
    client = make_client(feedback=database, api_keys=tmp_path / "keys.txt")
    id = "0" * 32
    assert 401 == client.post("/feedback?label=cat", content=png(), headers=RAW).status_code
    assert 401 == client.request("DELETE", f"/feedback/{id}").status_code
    with_key = {"Authorization": f"Bearer {key}"}
    assert 201 == client.post("/feedback?label=cat", content=png(), headers=RAW | with_key).status_code
    assert 404 == client.request("DELETE", f"/feedback/{id}", headers=with_key).status_code


def test_a_database_that_cannot_be_opened_stops_the_start(classifier: Classifier):
    """One sentence says which variable to correct."""
    with pytest.raises(ServiceError, match=r"of the kind 'mysql'.*Correct LINCE_FEEDBACK\."):
        create_app(classifier, ServeSettings(feedback="mysql://127.0.0.1/a"))
