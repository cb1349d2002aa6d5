"""Corrections on the page, in a real browser, against a real database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from server_process import ServerProcess, running_server

from browser_page import OpenPage
from lince.serving.feedback_store import FeedbackStore


@pytest.fixture
def taking(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that takes two corrections, and keeps them for 9 days."""
    with running_server(feedback=f"sqlite:///{tmp_path / 'feedback.db'}", feedback_days=9, feedback_max=2) as server:
        yield server


def labels(folder: Path) -> list[str]:
    store = FeedbackStore(f"sqlite:///{folder / 'feedback.db'}", days=9, most=2)
    try:
        return [one.label for one in store]
    finally:
        store.close()


def test_a_wrong_answer_can_be_corrected(open_page: OpenPage, taking: ServerProcess, tmp_path: Path):
    """Names are in the page's language, what is stored is the label; a correction can be taken back."""
    page = open_page(taking.url, locale="pt-BR")
    expect(page.locator("#privacy")).to_contain_text("aquela imagem fica guardada por 9 dias")
    page.locator("[data-sample=ship]").click()
    expect(page.locator("#correction-terms")).to_contain_text("apagada depois de 9 dias")
    page.get_by_label("Errado? Escolha a classe certa:").select_option("gato")
    page.get_by_role("button", name="Enviar correção").click()
    expect(page.locator("#corrected")).to_contain_text("Sua correção foi guardada")
    assert ["cat"] == labels(tmp_path)
    take_back = page.get_by_role("button", name="Apagar a correção")
    expect(take_back).to_be_focused()
    take_back.click()
    expect(page.locator("#corrected")).to_have_text("A correção foi apagada.")
    assert [] == labels(tmp_path)
    expect(page.get_by_label("Errado? Escolha a classe certa:")).to_be_focused()


def test_nothing_is_sent_without_a_class(open_page: OpenPage, taking: ServerProcess, tmp_path: Path):
    """The browser asks for a choice."""
    page = open_page(taking.url)
    page.locator("[data-sample=ship]").click()
    page.get_by_role("button", name="Send correction").click()
    expect(page.locator("#right:invalid")).to_be_visible()
    assert [] == labels(tmp_path)


def test_a_refused_correction_is_explained(open_page: OpenPage, taking: ServerProcess, picture: Path):
    """Each picture has its own correction; one more than the table holds is refused."""
    page = open_page(taking.url)
    page.set_input_files("#file", [picture] * 3)
    for number in range(3):
        page.wait_for_timeout(1100)  # the service takes one a second
        page.locator(".thumbnail").nth(number).click()
        page.locator("#right").select_option("dog")
        page.get_by_role("button", name="Send correction").click()
        if number < 2:
            expect(page.locator("#corrected")).to_contain_text("is stored under the number")
    expect(page.get_by_role("alert")).to_contain_text("The server stores no more corrections.")
    page.locator(".thumbnail").nth(0).click()
    expect(page.locator("#corrected")).to_contain_text("is stored under the number")


def test_no_correction_is_offered_unless_it_is_enabled(page: Page):
    """As `/model` says."""
    page.locator("[data-sample=ship]").click()
    expect(page.locator("#verdict")).to_be_visible()
    expect(page.locator("#correction")).to_be_hidden()
