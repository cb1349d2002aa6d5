"""Takes the pictures of the service's page for the READMEs, `docs/page.png` and `docs/page.pt-BR.png`, in chromium.

.venv/test/bin/python docs/screenshot.py
"""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

_DOCS = Path(__file__).parent
_SIZE = {"width": 900, "height": 640}
sys.path.append(str(_DOCS.parent / "benchmarks"))
from server_process import running_server  # noqa: E402 (a program beside the package)


def main() -> None:
    """Serves `cifar10`, chooses the drawn ship on the page, and keeps what a visitor sees in each language."""
    with running_server() as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for locale, name in (("en", "page.png"), ("pt-BR", "page.pt-BR.png")):
            _take(chromium.new_page(viewport=_SIZE, locale=locale, reduced_motion="reduce"), server.url, _DOCS / name)
        chromium.close()


def _take(page: Page, url: str, file: Path) -> None:
    for _ in range(2):  # the first answer takes longer
        page.goto(url)
        page.locator("input[type=file]").first.set_input_files(_DOCS / "samples" / "ship.jpg")
        page.locator("#verdict").wait_for()
        page.wait_for_load_state("networkidle")
    page.screenshot(path=file)
    # 64 colours are enough for a page of few, and make the file a third as large.
    Image.open(file).quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    main()
