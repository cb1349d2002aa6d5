"""The page of labels that may be wrong: pictures inside, names escaped, and a limit."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from lince.data.label_errors import SuspectedLabel
from lince.errors import OutputError
from lince.reporting import label_page
from lince.training.transfer.label_check import LabelCheck


@pytest.fixture
def checked() -> LabelCheck:
    """Three suspects of one colour each."""
    suspects = tuple(
        SuspectedLabel(f"cat/<b>{number}</b>.png", "cat", "dog & fox", 0.01 * number, 0.9) for number in range(3)
    )
    return LabelCheck(50, suspects, np.full((3, 8, 8, 3), [[[[250]]], [[[130]]], [[[10]]]], np.uint8))


def test_each_picture_has_both_labels(checked):
    """In order, with the picture inside and every name escaped; the page may load nothing."""
    html = label_page.html(checked, source="my <i>pictures</i>")
    pictures = [base64.b64decode(part.split('"')[0]) for part in html.split("data:image/jpeg;base64,")[1:]]
    assert [250, 130, 10] == [int(np.asarray(Image.open(io.BytesIO(one))).mean().round()) for one in pictures]
    assert 3 == html.count('<dd class="label">cat</dd>') == html.count("<dd>dog &amp; fox</dd>")
    assert html.index("cat/&lt;b&gt;0") < html.index("cat/&lt;b&gt;2")
    assert "my &lt;i&gt;pictures&lt;/i&gt;: 3 images of 50 training and validation images" in html
    assert "default-src 'none'" in html
    assert "http" not in html.replace('http-equiv="Content', "")


def test_pictures_are_limited(checked, monkeypatch):
    """A page with thousands of pictures would not open; it says where the others are."""
    monkeypatch.setattr(label_page, "_MOST_PICTURES", 2)
    html = label_page.html(checked, source="x")
    assert 2 == html.count("<img ")
    assert "The first 2 are shown" in html


def test_write(checked, tmp_path):
    """The file is the page; a folder that is missing is one sentence."""
    label_page.write(tmp_path / "labels.html", checked, source="x")
    assert label_page.html(checked, source="x") == (tmp_path / "labels.html").read_text(encoding="utf-8")
    with pytest.raises(OutputError, match=r"could not be written \(No such file or directory\)\. Expected a file in"):
        label_page.write(tmp_path / "missing" / "labels.html", checked, source="x")
