"""Takes the picture of the service's page for the README, `docs/page.png`, in Debian's chromium.

.venv/test/bin/python docs/screenshot.py [FILE]
"""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

_DOCS = Path(__file__).parent
sys.path.append(str(_DOCS.parent / "benchmarks"))
from server_process import running_server  # noqa: E402 (a program beside the package)


def main() -> None:
    """Serves `cifar10`, chooses the drawn ship on the page, and keeps what a visitor sees."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else _DOCS / "page.png"
    with running_server() as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 900, "height": 640}, locale="en", reduced_motion="reduce")
        page.goto(server.url)
        page.locator("input[type=file]").first.set_input_files(_DOCS / "samples" / "ship.jpg")
        page.locator("#verdict").wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=file)
        chromium.close()
    # 64 colours are enough for a page of few, and make the file a third as large.
    Image.open(file).quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    main()
