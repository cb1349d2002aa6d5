"""The page's tab about the model, in a real browser."""

import json

from playwright.sync_api import Page, expect
from server_process import ServerProcess, running_server

from browser_page import OpenPage, describe


def test_the_tab_describes_the_model(page: Page, server: ServerProcess):
    """Its classes and its certificate in words and figures, its card as it is, and the way to the reference."""
    model = page.evaluate("async () => (await fetch('model')).json()")
    page.get_by_role("tab", name="Model").click()
    panel = page.get_by_role("tabpanel", name="Model")
    expect(panel.get_by_role("heading", level=2)).to_have_text(model["name"])
    assert model["classes"] == panel.locator(".chips li").all_text_contents()
    comparison = model["certificate"]["comparison"]
    facts = dict(zip(panel.locator("dt").all_text_contents(), panel.locator("dd").all_text_contents(), strict=True))
    assert f"{100 * comparison['int8_accuracy']:.2f}\u00a0%" == facts["Accuracy as served"]
    assert f"{comparison['n']:,}" == facts["Test pictures"]
    assert facts["Allowed drop"].endswith("points: passed")
    assert facts["Difference of accuracy"] == "−0.04 points (95\u00a0% interval −0.15 to +0.07)"
    panel.get_by_text("The whole model card").click()
    expect(panel.locator("pre")).to_have_text(model["card"])
    panel.get_by_role("link", name="API reference").click()
    expect(page).to_have_url(f"{server.url}/docs")


def test_a_model_that_was_not_measured(page: Page):
    """No certificate, no verdict, no calibration; the weights that its training began with are named."""
    model = page.evaluate("async () => (await fetch('model')).json()")
    calibration = model["calibration"] | {"n": 0}
    began = {"source": "EfficientNet-Lite0", "licence": "Apache-2.0", "data": "ImageNet-1k"}
    describe(page, certificate=None, verdict=None, calibration=calibration, pretrained=began)
    page.get_by_role("tab", name="Model").click()
    headings = page.locator("#description h3").all_text_contents()
    assert ["Classes", "What the network sees", "What a probability means", "Training began with"] == headings
    expect(page.locator("#description")).to_contain_text("The probabilities of this model are not calibrated.")
    expect(page.locator("#description")).to_contain_text("EfficientNet-Lite0. ImageNet-1k. Apache-2.0")


def test_the_curves_of_the_training(page: Page):
    """Both are drawn, with the epoch that was kept; what they show is said in words too."""
    course = [(1, 1.5, 0.4, 1.2, 0.5, False), (2, 0.75, 0.7, 0.8, 0.65, True), (3, 0.5, 0.8, 0.9, 0.6, False)]
    keys = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "is_kept")
    describe(page, curves=[dict(zip(keys, point, strict=True)) for point in course])
    page.get_by_role("tab", name="Model").click()
    kept = "Kept: epoch 2, 65.0\u00a0% on the validation pictures."
    accuracy = f"Accuracy. Epoch 1 to 3, from 40.0\u00a0% to 80.0\u00a0%. {kept}"
    expect(page.get_by_role("img", name=accuracy, exact=True)).to_be_visible()
    loss = page.get_by_role("img", name="Cross-entropy. Epoch 1 to 3, from 0.50 to 1.50. Kept: epoch 2, 0.80 on")
    assert "0,0 160,120 320,160" == loss.locator("polyline.training").get_attribute("points")
    expect(loss.locator("circle")).to_have_attribute("cx", "160")
    describe(page, curves=[])
    page.get_by_role("tab", name="Model").click()
    expect(page.locator("#description h2")).to_be_visible()
    expect(page.locator(".curves")).to_have_count(0)


def test_tabs_by_keyboard(page: Page):
    """Arrows go from one to the other; the Tab key goes past the one that is not chosen."""
    picture, model = page.get_by_role("tab", name="Pictures"), page.get_by_role("tab", name="Model")
    picture.focus()
    page.keyboard.press("ArrowRight")
    expect(model).to_be_focused()
    expect(page.get_by_role("tabpanel")).to_have_accessible_name("Model")
    page.keyboard.press("ArrowRight")
    expect(picture).to_be_focused()
    expect(page.get_by_role("tabpanel")).to_have_accessible_name("Pictures")
    page.keyboard.press("Tab")
    expect(page.locator("#file")).to_be_focused()


def test_a_model_can_be_chosen(open_page: OpenPage):
    """Where several are served; this visit's pictures are answered again, and explained, by the chosen one."""
    with running_server(model=json.dumps(["cifar10", "cifar10-tiny"])) as server:
        page = open_page(server.url)
        page.locator("[data-sample=ship]").click()
        expect(page.locator("#verdict")).to_be_visible()
        page.get_by_role("tab", name="Model").click()
        chooser = page.get_by_label("Model", exact=True).and_(page.locator("select"))
        assert ["cifar10", "cifar10-tiny"] == chooser.locator("option").all_text_contents()
        with page.expect_response("**/predict?*") as asked:
            chooser.select_option("cifar10-tiny")
        assert "cifar10-tiny" == asked.value.json()["model"]["name"]
        expect(page.locator("#description h2")).to_have_text("cifar10-tiny")
        page.get_by_role("tab", name="Pictures").click()
        with page.expect_response("**/explain?*") as explained:
            page.get_by_role("button", name="Why?").click()
        assert "cifar10-tiny" == explained.value.json()["model"]["name"]


def test_one_model_leaves_no_choice(page: Page):
    """The switch is there for several alone."""
    page.get_by_role("tab", name="Model").click()
    expect(page.locator("#description h2")).to_have_text("cifar10")
    expect(page.locator("#models")).to_be_hidden()
