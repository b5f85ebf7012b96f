"""What operators are given fits what the server measures: the page, the rules and the dashboard name what there is."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Histogram

from chat import metrics
from tests.debian import find

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "operations"
PAGE = (FOLDER / "monitoring.md").read_text()
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
ALERTS = {f"alert {rule['alert']}": str(rule["expr"]) for rule in RULES}
PANELS: dict[str, str] = {
    f"panel {panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
EXPRESSIONS = ALERTS | PANELS

PLAYED = ROOT / "tests" / "watching" / "alerts.yml"
JOBS = {"chat-web", "chat-worker"}


def _defined() -> dict[str, Any]:
    """Every metric of ours, by the name under which Prometheus finds it."""
    found = {}
    for one in vars(metrics).values():
        if isinstance(one, (metrics.Tally, metrics.Reading, Counter, Histogram)):
            for family in one.collect():
                found[f"{family.name}_total" if family.type == "counter" else family.name] = one
    return {name: one for name, one in found.items() if name.startswith("chat_")}


def _labels(one: Any) -> set[str]:
    if isinstance(one, metrics.Reading):
        return {one.label} - {""}
    return set(getattr(one, "_labelnames", ()))


def test_the_page_lists_just_the_metrics_that_there_are() -> None:
    described = set(re.findall(r"^\| `(chat_\w+)` \|", PAGE, re.M))
    assert described == set(_defined())


def test_a_name_tells_its_unit() -> None:
    for name, one in _defined().items():
        if isinstance(one, Histogram) and name != "chat_session_messages":
            assert name.endswith(("_seconds", "_bytes")), name


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_that_there_are(where: str) -> None:
    expression, defined = EXPRESSIONS[where], _defined()
    names = re.findall(r"\b((?:chat|process)_\w+)(?:\{([^}]*)\})?", expression)
    targets = re.findall(r'\bup\{job=~?"([^"]*)"\}', expression)  # what Prometheus says of each target itself
    assert names or targets
    assert {job for jobs in targets for job in jobs.split("|")} <= JOBS
    for name, matchers in names:
        base = re.sub(r"_(bucket|count|sum)$", "", name) if name not in defined else name
        assert base in defined or name.startswith("process_"), name
        assert set(re.findall(r"(\w+)\s*=", matchers)) <= _labels(defined.get(base)) | {"le"}
    known = {"le", "instance"}.union(*(_labels(defined.get(re.sub(r"_(bucket|count)$", "", n))) for n, _ in names))
    known = known.union(*(_labels(defined.get(n)) for n, _ in names))
    for by in re.findall(r"by \(([^)]*)\)", expression):
        assert {label.strip() for label in by.split(",")} <= known, by


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    headings = set(re.findall(r"^### (\w+)$", PAGE, re.M))
    for rule in RULES:
        assert rule["alert"] in headings
        assert rule["for"] and rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook_url"] == f"monitoring.md#{rule['alert'].lower()}"


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus-compose.yml"])
def test_prometheus_takes_the_configuration_whose_jobs_the_rules_know(name: str) -> None:
    file = FOLDER / "deploy" / name
    promtool = [*find("promtool", "prometheus"), "check", "config", "--syntax-only"]
    done = subprocess.run([*promtool, file], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {one["job_name"] for one in yaml.safe_load(file.read_text())["scrape_configs"]} == JOBS


def test_prometheus_takes_the_rules_and_they_fire_when_they_should() -> None:
    promtool = find("promtool", "prometheus")
    for words in (["check", "rules", str(FOLDER / "alerts.yml")], ["test", "rules", str(PLAYED)]):
        done = subprocess.run([*promtool, *words], cwd=ROOT, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", [rule["alert"] for rule in RULES])
def test_each_rule_is_played_once_where_it_fires_and_once_where_it_does_not(rule: str) -> None:
    cases = [one for test in yaml.safe_load(PLAYED.read_text())["tests"] for one in test["alert_rule_test"]]
    assert {bool(one["exp_alerts"]) for one in cases if one["alertname"] == rule} == {True, False}


def test_each_metric_of_ours_is_on_the_dashboard() -> None:
    shown = " ".join(PANELS.values())
    missing = [name for name in _defined() if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", shown)]
    assert missing == []
