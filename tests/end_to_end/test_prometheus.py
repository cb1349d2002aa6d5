"""A real Prometheus reads a real server: the rules see changed pictures, the dashboard has its numbers."""

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hostile_requests import black_png
from server_process import free_port, running_server

from lince.runs.run_folder import RunFolder

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = shutil.which("prometheus")
WINDOW = "20s"
CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [lince.rules.yml]
scrape_configs:
  - job_name: lince
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
EMPTY = ("lince_rejections_total", "lince_image_errors_total")

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is not installed (Debian: prometheus)")


@dataclass(frozen=True)
class Prometheus:
    port: int

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series that a query gives now; one that cannot be parsed raises."""
        address = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]["result"]

    def wait_for(self, query: str) -> list[dict[str, Any]]:
        """As `ask`, once there is a series."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with suppress(OSError):
                if found := self.ask(query):
                    return found
            time.sleep(0.5)
        pytest.fail(f"No series for {query!r} within a minute.")


@pytest.fixture(scope="module")
def prometheus(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It reads a server that gets black pictures, by the rules with a window of seconds instead of a day."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    rules = (DEPLOY / "prometheus" / "lince.rules.yml").read_text(encoding="utf-8")
    (folder / "lince.rules.yml").write_text(shortened(rules).replace("interval: 1m", "interval: 1s"), encoding="utf-8")
    with running_server(model=run.model) as server, (folder / "log").open("wb") as log, asking(server.url):
        (folder / "prometheus.yml").write_text(CONFIGURATION.format(port=server.port), encoding="utf-8")
        command = [
            PROMETHEUS,
            f"--web.listen-address=127.0.0.1:{port}",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
        ]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
            process.wait(20)


def shortened(text: str) -> str:
    """Rules or queries for the short window, as the file of rules says how to do it."""
    return text.replace("[1d]", f"[{WINDOW}]").replace("increase1d", f"increase{WINDOW}").replace(":1d", f":{WINDOW}")


@contextmanager
def asking(url: str) -> Iterator[None]:
    """Sends black pictures, twenty a second."""
    ended = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(f"{url}/predict", black_png(32, 32, colour=2), {"Content-Type": "image/png"})
        while not ended.wait(0.05):
            urllib.request.urlopen(request, timeout=10).close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_pictures_that_have_changed_raise_an_alert(prometheus: Prometheus):
    """Black ones are all in the lowest bin of brightness: the index is far above the bound, and the alert waits."""
    [index] = prometheus.wait_for(f'lince:drift_index:{WINDOW}{{statistic="brightness"}} > 0.25')
    assert index["metric"]["model"]
    [alert] = prometheus.wait_for('ALERTS{alertname="LinceInputDrift", statistic="brightness"}')
    assert alert["metric"]["alertstate"] == "pending"
    shares = prometheus.ask(f'lince:drift_share:{WINDOW}{{statistic="brightness"}}')
    assert {one["metric"]["bin"]: float(one["value"][1]) for one in shares}["0"] == pytest.approx(1)


def test_the_dashboard_has_its_numbers(prometheus: Prometheus):
    """Each query gives a series, but those of errors, of which there are none."""
    dashboard = json.loads((DEPLOY / "grafana" / "lince.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    prometheus.wait_for(f"lince:drift_index_by_chance:{WINDOW}")
    for query in queries:
        query = shortened(query).replace("$__rate_interval", WINDOW).replace("$model", ".*")
        if any(name in query for name in EMPTY):
            assert prometheus.ask(query) == [], query
        else:
            assert prometheus.wait_for(query), query
