"""What serves never imports what trains."""

import subprocess
import sys

CHECK = """
import asyncio, io, sys
import httpx, numpy, PIL.Image
from lince.serving.app import create_app
from lince.serving.settings import ServeSettings
import lince.serving.server

async def main():
    settings = ServeSettings()
    app = create_app(settings.model_files[0], settings)
    file = io.BytesIO()
    PIL.Image.fromarray(numpy.zeros((32, 32, 3), numpy.uint8)).save(file, "PNG")
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            headers = {"Content-Type": "image/png"}
            assert (await client.post("/predict", content=file.getvalue(), headers=headers)).status_code == 200

asyncio.run(main())
PLANTED
print(sorted({"tensorflow", "keras", "jax", "torch", "ai_edge_quantizer", "matplotlib", "pandas"} & set(sys.modules)))
"""


def imported(planted: str = "") -> str:
    """Which of the forbidden were imported by a process that answered a request."""
    command = [sys.executable, "-c", CHECK.replace("PLANTED", planted)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.strip()


def test_serving_imports_no_training_framework():
    """From import to an answer, in a process of its own."""
    assert imported() == "[]"


def test_the_check_can_fail():
    """It sees a framework when there is one."""
    assert imported("import matplotlib") == "['matplotlib']"


def test_a_service_draws_nothing():
    """What draws tables and bars in a terminal would cost its start 60 ms."""
    program = "import sys, lince.cli, lince.serving.server; print('rich.console' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"
