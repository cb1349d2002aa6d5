"""The report: everything inside, nothing from outside, every name escaped, in both languages."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from lince.model_file import artifact
from lince.model_file.manifest import Arithmetic, Attempt, ClassCounts, Finding, Leakage, Verdict
from lince.reporting import network, page
from lince.reporting.page import ReportContent, figures, html_report, markdown_report
from lince.runs.pictures import Pictures
from lince.runs.run_folder import RunFolder
from lince.types import Calibration, Interval, Rejected

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Reader(HTMLParser):
    """Collects text, images and ids, and checks that every tag is closed in order."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.sources: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.sources += [values["src"]] if "src" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.ids += [values["id"]] if "id" in values else []
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


SECTIONS = (
    "verdict",
    "curves",
    "classes",
    "mistakes",
    "data",
    "network",
    "probability",
    "certificate",
    "cost",
    "details",
)


@pytest.fixture
def content(published, answers, history, run: RunFolder) -> ReportContent:
    probabilities, labels = answers
    return ReportContent(
        title="run <script>alert(1)</script>",
        language="en",
        published=replace(published, class_counts=ClassCounts((800, 900, 1000), (80, 90, 100))),
        probabilities=probabilities,
        labels=labels,
        history=history,
        patience=2,
        recipe={"name": "classic", "model": {"widths": [32, 64], "dropout": 0.2}, "phases": [{"until": 0.3}]},
        versions={"keras": "3.12.0"},
        facts={"seed": "0"},
        num_images=(2700, 270),
        is_refitted=False,
        image_shape=(32, 32, 3),
        layers=network.layers(artifact.read(run.model).flatbuffer),
        model_bytes=21_136,
        fingerprint="0123abcd",
        commands=("lince train parts --recipe=recipe.toml --seed=0",),
    )


@pytest.fixture
def pictures() -> Pictures:
    """Four mistakes, two examples of each class, one augmented picture, one copy under another label."""
    grey = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    return Pictures(
        version="0123456789ab",
        mistakes=grey,
        examples=np.tile(grey[:2], (3, 1, 1, 1)),
        example_labels=np.repeat(np.arange(3), 2),
        originals=grey[:1],
        augmented=np.tile(grey[:1], (1, 6, 1, 1, 1)),
        copies=grey[:2].reshape(1, 2, 8, 8, 3),
        copy_labels=np.array([[0, 1]]),
    )


def page_with(content: ReportContent, **changed: object) -> str:
    """The page of the content, with other measurements."""
    return html_report(replace(content, published=replace(content.published, **changed)))


def test_answers_in_the_order_of_the_questions(content, report):
    """Verdict and accuracy first, details last."""
    read = Reader(html_report(content))
    assert [one for one in read.ids if one in SECTIONS] == list(SECTIONS)
    low, high = (f"{100 * share:.0f} %" for share in (report.accuracy.low, report.accuracy.high))
    for expected in (
        f"{100 * report.accuracy.value:.0f} %",
        f"Accuracy : {low} to {high} (95 % interval), on 300 test images",
        "The weights of epoch 3 were kept",
        "2,700 images to train on, 270 to validate, 300 to test.",
        "dog [brown] 900 90 100",
        "a set of classes that holds the true one for about 95 %",
        "The float network and the published one answered the same 10,000 test images.",
        "Accuracy 81.57 % 81.45 % −0.12 paired 95 % interval of the difference −0.27 to +0.03",
        "recall of dog [brown], which fell most −1.02",
        "temperature 1.2345",
        "6 layers, 17.8 k weights",
        'name = "classic" model.widths = [32, 64] model.dropout = 0.2 phases = [{until = 0.3}]',
        "keras 3.12.0",
        "lince train parts --recipe=recipe.toml --seed=0",
    ):
        assert expected in read.words
    assert report.mistakes[0].name in read.words


@pytest.mark.parametrize(("code", "colour"), [("good", "judgement"), ("overfitted", "judgement bad")])
def test_verdict_is_above_everything(content, code, colour):
    """Its sentences come before the first figure; a fault is marked."""
    verdict = Verdict((Finding(code, "It is <so>."), Finding("remark", "And so.")))
    html = page_with(content, verdict=verdict)
    words = Reader(html).words
    assert words.index("It is <so>. And so.") < words.index("95 % interval")
    assert f'class="{colour}"' in html


def test_certificate_is_judged_in_words(content):
    """Passed, published all the same, or too few images to know; and what is not int8 is named."""
    certificate = content.published.certificate
    assert "Passed: the loss is shown to be at most 0.50 points" in Reader(html_report(content)).words
    assert "Not passed: published with --force" in page_with(content, certificate=replace(certificate, forced=True))
    unclear = replace(certificate, comparison=replace(certificate.comparison, drop_points=Interval(0.1, -2, 2)))
    assert "Not shown to be within 0.50 points: 10,000 images are too few" in page_with(content, certificate=unclear)
    attempt = Attempt(
        Arithmetic(("conv1",)),
        400,
        Interval(0.25, -0.1, 0.6),
        content.published.sensitivity.whole,
        0.8,
        9000,
        80.0,
        True,
    )
    mixed = page_with(content, arithmetic=Arithmetic(("conv1",)), fallback=(attempt,))
    assert "Not int8 throughout: conv1 compute in float" in mixed
    assert "conv1 +0.25 points (−0.10 to +0.60)" in Reader(mixed).words


def test_a_threshold_of_nothing_is_no_threshold(content):
    """No probability is below 0.0000: "I don't know" is never answered. One image has no plural."""
    few = Calibration(temperature=1.2, set_threshold=0.0625, abstain_below=0.0, n=1, uniform_share=0.4)
    words = Reader(page_with(content, calibration=few)).words
    assert "Fitted on 1 image from which the network that answered had not learned: the logits are divided" in words
    assert "The model never answers “I don't know”." in words
    assert "below 0.0000" not in words
    assert "the highest that 1 image from which the network that answered had not learned can support" in words


def test_loads_nothing(content, pictures):
    """Every picture is inside; no script, no style sheet, no address but places in the page, and a policy for that."""
    html = html_report(replace(content, pictures=pictures))
    read = Reader(html)
    assert len(read.sources) == 4 + 6 + 1 + 6 + 2
    assert all(source.startswith("data:image/png;base64,") for source in read.sources)
    assert {link[0] for link in read.links} == {"#"} | {link[0] for link in read.links if link.startswith("data:")}
    assert not re.search(r"https?://|url\((?!#)|@import|<script", html)
    assert "default-src 'none'" in html
    assert len(read.ids) == len(set(read.ids))


def test_shows_the_data(content, pictures):
    """Mistakes, examples of each class, augmented pictures and copies, each with a text for those who do not see it."""
    leakage = Leakage(1, 2, None)
    shown = replace(content, pictures=pictures, published=replace(content.published, leakage=leakage))
    html = html_report(shown)
    assert html.count('alt="Training image of class cat"') == 2
    assert 'alt="Test image of class cat"' in html
    assert 'alt="Changed picture 6"' in html
    assert 'alt="Training or validation image of class dog [brown]"' in html
    assert "1 identical, 2 that look alike" in html
    assert "This file holds pictures of the data" in html


def test_says_what_it_cannot_show(content):
    """Of an older run: no pictures, no counts, no history, no sets."""
    sets = replace(content.published.sets, coverage=None, mean_size=None)
    least = replace(content, history=(), published=replace(content.published, sets=sets, class_counts=None))
    words = Reader(html_report(least)).words
    assert words.count("This report has no pictures: none are recorded for this model.") == 2
    assert "This run has no history of its training." in words
    assert "There are no prediction sets: 9,600 validation images are too few" in words
    assert "class to test cat 100" in words


def test_a_head_alone_has_no_curves(content, pictures):
    """Nothing was trained in epochs: no curve, no epoch that was kept, no picture that an epoch has changed."""
    head = replace(content, history=(replace(content.history[0], epoch=0),), pictures=pictures)
    html, markdown = html_report(head), markdown_report(head)
    assert "There was no fine-tuning, so there are no curves." in html
    assert "There was no fine-tuning, so there are no curves." in markdown
    assert {"accuracy", "loss"}.isdisjoint(name for name, _ in figures(head))
    for absent in ("were kept", "0 epochs", "Changed picture", "plots/accuracy.png", "plots/augmented.png"):
        assert absent not in html + markdown


def test_no_mistake_and_no_augmentation(content, pictures):
    """Nothing wrong is said to be so, and a recipe that changes nothing has no changed pictures."""
    right = replace(content.published.int8, mistakes=())
    still = replace(pictures, mistakes=pictures.mistakes[:0], augmented=pictures.augmented[:, :0])
    html = html_report(replace(content, published=replace(content.published, int8=right), pictures=still))
    assert "None: all 300 test images were answered rightly." in html
    assert "it has no augmentation" in html


def test_lists_what_was_left_out(content):
    """Ten files at most, and what --leave-out named."""
    rejected = tuple(Rejected(f"{number}.png", "It is <damaged>.") for number in range(12))
    words = Reader(html_report(replace(content, rejected=rejected, left_out="shown.zip", warnings=("Look.",)))).words
    assert "12 files could not be used: 0.png : It is <damaged>." in words
    assert "10.png" not in words
    assert "Images that shown.zip also holds were left out" in words
    assert "Look." in words


def test_marks_the_epoch_whose_weights_were_kept(content):
    """In both curves, by the recipe's patience."""
    for patience, kept in ((2, "kept: epoch 3 ("), (0, "kept: epoch 5 (")):
        assert html_report(replace(content, patience=patience)).count(kept) == 2


def test_escapes_names(content):
    """A folder's name is text, whatever it looks like: in HTML and in Markdown."""
    html, markdown = html_report(content), markdown_report(content)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>cub</b>" not in html
    assert "<script>" not in markdown
    assert r"fox \& \<b\>cub\</b\>" in markdown


@pytest.mark.parametrize(
    ("language", "lang", "said"), [("en", "en", "Worst mistakes"), ("pt", "pt-BR", "Piores erros")]
)
def test_speaks_the_language(content, pictures, language, lang, said):
    """Texts, numbers and the language that a screen reader is told."""
    chosen = replace(content, language=language, pictures=pictures)
    html, markdown = html_report(chosen), markdown_report(chosen)
    assert f'<html lang="{lang}">' in html
    assert f"## {said}" in markdown
    assert said in html
    number = {"en": "81.57\xa0%", "pt": "81,57%"}[language]
    assert number in html
    assert number in markdown


def test_markdown_shows_the_files_of_the_run_folder(content, pictures):
    """Every picture that it names is one that is written, and none without pictures."""
    with_pictures = replace(content, pictures=pictures)
    names = {name for name, _ in page.figures(with_pictures)} | {name for name, _ in page.sheets(with_pictures)}
    shown = set(re.findall(r"\(plots/(\w+)\.png\)", markdown_report(with_pictures)))
    assert names == shown
    assert "(plots/mistakes.png)" not in markdown_report(content)


def test_same_content_gives_same_page(content):
    """No clock and no random number inside."""
    assert html_report(content) == html_report(content)
