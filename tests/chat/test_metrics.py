"""The parts of the metrics that do more than count."""

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry, Histogram

from chat import metrics


def _count(histogram: Histogram) -> float:
    return next(one.value for family in histogram.collect() for one in family.samples if one.name.endswith("_count"))


def test_a_stopwatch_measures_once_and_forgets_what_nobody_stops() -> None:
    histogram = Histogram("one_seconds", "One.", registry=CollectorRegistry())
    watches = metrics.Stopwatches(histogram, most=2)
    for name in ("a", "b", "c"):
        watches.start(name, time.monotonic())
    for name in ("a", "b", "b", "unknown"):
        watches.stop(name)
    assert _count(histogram) == 1


def test_only_so_many_language_models_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_llms", set())
    names = [metrics.llm_label(f"openai:{number}?secret={number}") for number in range(metrics.NAMES_MAX + 5)]
    assert names[0] == "openai:0"
    assert names[metrics.NAMES_MAX :] == ["other"] * 5
    assert metrics.llm_label("openai:0") == "openai:0"


async def test_the_lag_of_a_loop_that_stood_still_is_seen() -> None:
    lag = metrics.LoopLag()
    lag.EVERY_S = 0.01
    lag.watch()
    await asyncio.sleep(0.02)
    time.sleep(0.2)  # noqa: ASYNC251 - to hold the loop is the point
    await asyncio.sleep(0.05)
    assert lag.longest() >= 0.15
