"""What operators are given fits what the server measures: the page, the rules and the dashboard name what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Histogram

from chat import metrics

FOLDER = Path(__file__).parent.parent / "docs" / "operations"
PAGE = (FOLDER / "monitoring.md").read_text()
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
EXPRESSIONS = {f"alert {rule['alert']}": str(rule["expr"]) for rule in RULES} | {
    f"panel {panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}


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
    assert names
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


def test_each_metric_of_ours_is_on_the_dashboard() -> None:
    shown = " ".join(EXPRESSIONS.values())
    assert [name for name in _defined() if name not in shown] == []
