"""The page: everything inside, nothing from outside, every name escaped."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lince.model_file.manifest import Finding, Verdict
from lince.reporting.page import ReportContent, html_report
from lince.types import Calibration

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Reader(HTMLParser):
    """Collects text, images and ids, and checks that every tag is closed in order."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.sources: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.sources += [values["src"]] if "src" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.ids |= {values["id"]} if "id" in values else set()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert tag == self.open.pop()

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def content(published, answers, history) -> ReportContent:
    probabilities, labels = answers
    return ReportContent(
        title="run <script>alert(1)</script>",
        published=published,
        probabilities=probabilities,
        labels=labels,
        history=history,
        patience=2,
        recipe={"name": "classic", "model": {"widths": [32, 64], "dropout": 0.2}, "flip": True},
        versions={"keras": "3.12.0"},
        facts={"seed": "0"},
    )


def page_with(content: ReportContent, **changed: object) -> str:
    """The page of the content, with other measurements."""
    return html_report(replace(content, published=replace(content.published, **changed)))


def test_shows_everything(content, report):
    """Headline, certificate, sets, classes, mistakes, recipe and versions."""
    page = Reader(html_report(content))
    low, high = 100 * report.accuracy.low, 100 * report.accuracy.high
    for expected in (
        f"Accuracy, test split {100 * report.accuracy.value:.2f} % 95 % interval {low:.2f}–{high:.2f} %, 300 images",
        "Certificate: float against int8, 10,000 images of the test split",
        "accuracy 81.57 % 81.45 % −0.12 points drop +0.12, paired 95 % interval −0.03 to +0.27",
        "Bound on the drop: 0.50 points, passed.",
        "recall of dog [brown]",
        "Sets that hold the true class 95.37 % 95 % interval 94.94–95.76 % target 95.00 %",
        "temperature 1.2345",
        "fox & <b>cub</b>",
        report.mistakes[0].name,
        "model.widths [32, 64] model.dropout 0.2 flip true",
        "keras 3.12.0",
        "seed 0",
    ):
        assert expected in page.words
    shown = {"verdict", "certificate", "sensitivity", "calibrated", "sets", "classes", "mistakes", "recipe", "versions"}
    assert shown == page.ids


@pytest.mark.parametrize(("code", "colour"), [("good", "judgement"), ("overfitted", "judgement bad")])
def test_verdict_is_above_everything(content, code, colour):
    """Its sentences come before the first figure; a fault is marked."""
    verdict = Verdict((Finding(code, "It is <so>."), Finding("remark", "And so.")))
    html = page_with(content, verdict=verdict)
    page = Reader(html)
    assert "verdict" in page.ids
    assert page.words.index("It is <so>. And so.") < page.words.index("Accuracy, test split")
    assert f'class="{colour}"' in html


def test_a_threshold_of_nothing_is_no_threshold(content):
    """No probability is below 0.0000: "I don't know" is never answered. One image has no plural."""
    few = Calibration(temperature=1.2, set_threshold=0.0625, abstain_below=0.0, n=1, uniform_share=0.4)
    words = Reader(page_with(content, calibration=few)).words
    assert "Fitted on 1 held-out image: logits are divided" in words
    assert "The model never answers “I don't know”." in words
    assert "below 0.0000" not in words
    assert "the highest that 1 image can support" in words


def test_no_recall_fell(content):
    """Then no class is the worst."""
    certificate = content.published.certificate
    even = replace(certificate, comparison=replace(certificate.comparison, worst_class_drop_points=0.0))
    assert "worst class 0.00 points no recall fell" in Reader(page_with(content, certificate=even)).words


def test_loads_nothing(content):
    """Every picture is inside, as SVG; no link, no script, no style sheet, and a policy that forbids them."""
    html = html_report(content)
    page = Reader(html)
    assert len(page.sources) == 5
    for source in page.sources:
        kind, data = source.split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        assert b"<svg" in base64.b64decode(data, validate=True)
    assert page.links == []
    assert not re.search(r"https?://|url\(|@import|<script", html)
    assert "default-src 'none'" in html


def test_marks_the_epoch_whose_weights_were_kept(content):
    """In both curves, by the recipe's patience."""
    for patience, kept in ((2, "kept: epoch 3 ("), (0, "kept: epoch 5 (")):
        page = Reader(html_report(replace(content, patience=patience)))
        figures = [base64.b64decode(source.split(",", 1)[1]).decode() for source in page.sources]
        assert 2 == sum(kept in figure for figure in figures)


def test_escapes_names(content):
    """A folder's name is text, whatever it looks like."""
    html = html_report(content)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>cub</b>" not in html


def test_leaves_out_what_there_is_none_of(content):
    """Without a history there are no curves; without mistakes, no list of them; without sets, no coverage."""
    right, sets = replace(content.published.int8, mistakes=()), content.published.sets
    without = replace(sets, coverage=None, mean_size=None)
    least = replace(content, history=(), published=replace(content.published, int8=right, sets=without))
    page = Reader(html_report(least))
    assert "mistakes" not in page.ids
    assert 3 == len(page.sources)
    assert "Sets that hold the true class" not in page.words


def test_same_content_gives_same_page(content):
    """No clock and no random number inside."""
    assert html_report(content) == html_report(content)
