"""What the tests of the page share: pages, and answers that the service would give with another model."""

from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

OpenPage = Callable[..., Page]
"""`open_page(url, locale="pt-BR")`: a page that is loaded, in a context with these options."""


def describe(page: Page, **fields: object) -> None:
    """Loads the page again, with other fields of `/model`."""

    def answer(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | fields)

    page.route("**/model", answer)
    page.reload()
    expect(page.locator("#knows")).not_to_be_empty()


def answer_with(page: Page, classes: list[str], *, set_: list[str] | None = None, abstain: bool = False) -> None:
    """From now on `/predict` answers with the first class at 90 %."""
    shares = [0.9, *[0.1 / len(classes)] * (len(classes) - 1)]
    top = [{"label": label, "index": index, "probability": shares[index]} for index, label in enumerate(classes)]
    answer = {**top[0], "top": top, "abstain": abstain, "prediction_set": set_}
    page.route("**/predict?*", lambda route: route.fulfill(json={"predictions": [answer]}))
