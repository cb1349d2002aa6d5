"""The metrics of the documentation, of Prometheus's rules and of Grafana's dashboard are those of the service."""

import json
import re
from pathlib import Path

import pytest
from app_client import RAW, AppClient, Png
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from lince.runs.run_folder import RunFolder
from lince.serving.app import create_app
from lince.serving.errors import STATUS
from lince.serving.metrics import STAGES
from lince.serving.settings import ServeSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
RULES = (ROOT / "deploy" / "prometheus" / "lince.rules.yml").read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "lince.json").read_text(encoding="utf-8"))
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


@pytest.fixture(scope="module")
def families(run: RunFolder, png: Png) -> list[Metric]:
    """What a service exports whose model has a reference for drift."""
    with AppClient(create_app(run.model, ServeSettings())) as client:
        client.post("/predict", content=png(), headers=RAW)
        text = client.get("/metrics").text
    return [one for one in text_string_to_metric_families(text) if one.name.startswith("lince_")]


def labels_of(family: Metric) -> set[str]:
    return {name for sample in family.samples for name in sample.labels} - {"le"}


def names_in(text: str) -> set[str]:
    """Metrics and recorded series that a query reads."""
    return set(re.findall(r"\blince[_:][\w:]+", text))


def test_the_page_lists_every_metric(families: list[Metric]):
    """With type and labels, and no others."""
    rows = re.findall(r"^\| `(lince_\w+)` \| (\w+) \| (.*?) ?\| ", PAGE, re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    exported = {
        f"{one.name}_total" if one.type == "counter" else one.name: (one.type, labels_of(one)) for one in families
    }
    assert documented == exported


def test_the_page_lists_every_stage():
    """In their order."""
    assert tuple(re.findall(r"^\| `(\w+)` \| [^|]* \|$", PAGE, re.MULTILINE)) == STAGES


def test_rules_and_dashboard_read_what_is_exported(families: list[Metric]):
    """Each name is a series of the service, or one that the rules record."""
    exported = {sample.name for family in families for sample in family.samples}
    recorded = set(re.findall(r"record: (\S+)", RULES))
    expressions = re.sub(r"^ *(#|- record:|- name:|summary:|description:).*$", "", RULES, flags=re.MULTILINE)
    assert len(QUERIES) > 15
    assert names_in(expressions) - exported == recorded & names_in(expressions)
    assert names_in(" ".join(QUERIES)) - exported == recorded & names_in(" ".join(QUERIES))
    variables = json.dumps(DASHBOARD["templating"])
    assert names_in(variables) <= exported


def test_rules_and_dashboard_name_labels_that_there_are(families: list[Metric]):
    """Those that are grouped by, and those that are chosen by; an instance is Prometheus's own."""
    known = {"instance", "le"}.union(*map(labels_of, families))
    text = " ".join([RULES, *QUERIES])
    grouped = {name for names in re.findall(r"\b(?:by|on|ignoring) \(([\w, ]+)\)", text) for name in names.split(", ")}
    chosen = set(re.findall(r"(\w+)=~?\\?\"", " ".join(QUERIES)))
    assert grouped | chosen <= known
    assert {"model", "statistic", "bin", "path"} <= grouped | chosen


def test_the_rules_are_yaml():
    """Groups of rules, each with a name and an expression."""
    yaml = pytest.importorskip("yaml")
    [group] = yaml.safe_load(RULES)["groups"]
    assert all(("record" in rule) != ("alert" in rule) and rule["expr"] for rule in group["rules"])


def test_every_code_is_a_label_from_the_start(families: list[Metric]):
    """A rate of errors begins with the first one: a counter that appears with it would hide it."""
    [rejections] = [one for one in families if one.name == "lince_rejections"]
    assert {sample.labels["code"] for sample in rejections.samples} == set(STATUS)
