"""The page in both languages, in a real browser."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser_page import OpenPage, describe

TITLES = {"en": "Lince: what is in this picture?", "pt-BR": "Lince: o que há nesta imagem?"}


@pytest.mark.parametrize(
    ("locale", "language"), [("en-GB", "en"), ("pt-BR", "pt-BR"), ("pt-PT", "pt-BR"), ("fr-FR", "en")]
)
def test_the_browser_chooses(open_page: OpenPage, locale: str, language: str):
    """Its first language that there is; English where there is none."""
    page = open_page(locale=locale)
    expect(page).to_have_title(TITLES[language])
    assert language == page.locator("html").get_attribute("lang")


def test_names_of_classes_are_translated_and_labels_are_not(open_page: OpenPage):
    """Chips, answer and bars; the service is asked in its own words."""
    page = open_page(locale="pt-BR")
    expect(page.locator("#known li").first).to_have_text("avião")
    with page.expect_response("**/predict?*") as asked:
        page.locator("[data-sample=ship]").click()
    expect(page.locator("#label")).to_have_text("navio")
    assert "ship" == asked.value.json()["predictions"][0]["label"]
    expect(page.locator("#explanation")).to_contain_text("% de certeza.")
    expect(page.locator("#bars .name").first).to_have_text("navio")


def test_other_classes_are_shown_as_they_are(open_page: OpenPage):
    """A label that is a word of the catalogue stays, where the classes are not CIFAR-10's."""
    page = open_page(locale="pt-BR")
    describe(page, classes=["cat", "dog", "lince"])
    assert ["cat", "dog", "lince"] == page.locator("#known li").all_text_contents()
    expect(page.locator("#samples")).to_be_hidden()


def test_the_switch_is_remembered(open_page: OpenPage, picture: Path):
    """Everything that is shown changes at once, and stays so after a reload."""
    page = open_page()
    page.set_input_files("#file", picture)
    expect(page.locator("#time")).to_contain_text("ms on the server")
    page.get_by_role("button", name="Português").click()
    expect(page.locator("#time")).to_contain_text("ms no servidor")
    expect(page.get_by_role("tab", selected=True)).to_have_text("Imagens")
    page.reload()
    expect(page).to_have_title(TITLES["pt-BR"])
    expect(page.get_by_role("button", name="Português")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="English").click()
    expect(page).to_have_title(TITLES["en"])


def test_errors_are_told_in_the_language(open_page: OpenPage, tmp_path: Path):
    """The page's sentence first, the server's own below it, marked as English."""
    page = open_page(locale="pt-BR")
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("#file", tmp_path / "notes.txt")
    expect(page.locator("#error-text")).to_have_text("Este arquivo não é uma imagem que possa ser lida aqui.")
    expect(page.locator("#error-detail")).to_contain_text("Received 10 bytes")
    expect(page.locator("#error-detail")).to_have_attribute("lang", "en")


def test_the_verdict_in_the_language(open_page: OpenPage):
    """Also the sentences; one of an older model file, which has no translation, is marked as English."""
    page = open_page(locale="pt-BR")
    translated = {"pt": "Sobreajuste: acerta 90%."}
    found = {"code": "overfitted", "sentence": "Overfitted: it is right for 90 %.", "translations": translated}
    other = {"code": "of_a_later_version", "sentence": "Something else.", "translations": {}}
    describe(page, verdict={"findings": [found, other]})
    page.get_by_role("tab", name="Modelo").click()
    section = page.locator("#description section").first
    assert ["Sobreajuste (overfitting)"] == section.locator("strong").all_text_contents()
    assert [translated["pt"], "Something else."] == section.locator("p").all_text_contents()
    assert ["Something else."] == section.locator("p[lang=en]").all_text_contents()


def test_numbers_are_written_as_the_language_writes_them(open_page: OpenPage):
    """A comma before decimals, a dot between thousands."""
    page = open_page(locale="pt-BR")
    page.get_by_role("tab", name="Modelo").click()
    expect(page.locator(".facts")).to_contain_text("10.000")
    expect(page.locator(".facts")).to_contain_text("91,17")
