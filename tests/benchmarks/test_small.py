"""Every benchmark once, as small as it can be, on real servers: without the peers, which `make bench` installs.

What is small is whom it measures. How much to do is far less still, and must change nothing but how often and how long.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as door
from benchmarks import crowd, fanout, generations, memory, reconnect, report, rooms, send, stop, tools
from benchmarks.bench import Bench, cpu_s
from benchmarks.figures import Figure
from benchmarks.rooms import Room
from tests.deeds import Deeds
from tests.processes import Process
from tests.stack import Stack

MUCH = 0.01


class Small(Bench):
    """A bench all of whose benchmarks share one server, which asks whatever LLM they name."""

    shared: Stack
    deeds: Deeds
    llm_url: str

    def stack(self, database: str = "sqlite", server: str = "daphne", **options: Any) -> Stack:
        llm = (options.get("env") or {}).get("CHAT_LLM", "demo")
        self.shared.ask("Agent.objects.exclude(name='doer').update(llm=llm)", llm=llm)
        return self.shared

    def llm(self) -> str:
        return self.llm_url

    def end(self, one: Process | Stack) -> None:
        if one is not self.shared:
            super().end(one)


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with Bench() as bench:
        Small.llm_url, Small.deeds = bench.llm(), Deeds(tmp_path_factory.mktemp("deeds"))
        demo = ",".join({crowd.DEMO, send.DEMO})
        env = {"OPENAI_BASE_URL": Small.llm_url, "OPENAI_API_KEY": "none", "CHAT_LLMS": demo}
        Small.shared = bench.stack(env=env | Small.deeds.env)
        yield


@pytest.fixture(autouse=True)
def of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of each, on one database; the rooms of ours and of stock Channels."""
    for benchmark in (crowd, send, reconnect, stop, tools):
        monkeypatch.setattr(benchmark, "DATABASES", {"sqlite": "SQLite"})
    for benchmark, name in ((crowd, "USERS"), (fanout, "SOCKETS"), (memory, "SOCKETS"), (tools, "SESSIONS")):
        monkeypatch.setattr(benchmark, name, 3)

    async def nobody(bench: Bench, llm_url: str) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(crowd, "theirs", nobody)
    monkeypatch.setattr(send, "theirs", nobody)
    monkeypatch.setattr(send, "compared", lambda rounds: [])
    monkeypatch.setattr(generations, "LLMS", {"SQLite, demo LLM": ("sqlite", generations.DEMO, 3)})
    monkeypatch.setattr(tools, "Deeds", lambda folder: Small.deeds)
    monkeypatch.setattr(fanout, "IDLE_S", 0.2)
    monkeypatch.setattr(rooms, "CHECK_S", 0.2)


def measured(
    run: Callable[[Bench], Coroutine[Any, Any, list[Figure]]], much: float = MUCH
) -> dict[tuple[str, str], Figure]:
    with Small(rounds=1, much=much) as bench:
        figures = asyncio.run(run(bench))
    never_nothing = [one for one in figures if one.unit not in ("KB", "% of a core")]
    assert all(value > 0 for one in never_nothing for value in one.rounds), report.rows(figures)
    return {(one.what, one.who): one for one in figures}


def test_one_message_is_measured() -> None:
    found = {what for what, _ in measured(send.run)}
    assert {"send → ok, p50", f"{send.FIRST}, p95", f"{send.FIRST_DEMO}, p50"} <= found


def test_as_many_users_as_are_named_talk_at_once_however_little_is_done() -> None:
    found = measured(crowd.run)
    for what in ("answers a second, 3 users", "first token, p95, 3 users"):
        assert found[what, "SQLite, demo LLM"].target and found[what, "SQLite, HTTP LLM"].target
        assert found[what + " in sessions of 60 answers", "SQLite, demo LLM"].target is None
    assert len(found) == 6


def test_as_many_answers_as_are_named_are_written_at_once_however_little_is_done() -> None:
    found = measured(generations.run, much=0.2)  # a second, in which each of them is seen to go on
    assert {who for _, who in found} == {"3, SQLite, demo LLM"}
    assert found[generations.MEMORY, "3, SQLite, demo LLM"].at_most == 120


def test_as_many_sockets_as_are_named_are_told_however_little_is_done() -> None:
    async def run(bench: Bench) -> list[Figure]:
        places: list[Room] = [await rooms.ours(bench, "daphne"), await rooms.stock_channels(bench, "daphne")]
        return (await fanout.measure(bench, places)).figures()

    whats = (fanout.IDLE, fanout.RATE, fanout.BURST, fanout.SPARSE)
    found = measured(run)
    assert set(found) == {(what.format(3), who) for what in whats for who in ("ours, daphne", "stock Channels, daphne")}


def test_the_memory_of_as_many_sockets_as_are_named_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "openers", lambda: [partial(rooms.ours, server="daphne")])
    monkeypatch.setattr(memory, "SERVERS", ["daphne"])
    monkeypatch.setattr(memory, "WARM", 2)
    assert set(measured(memory.run)) == {("memory a socket, of 3", "ours, daphne")}


def test_runs_with_tools_are_measured() -> None:
    assert (tools.MANY.format(3), "SQLite") in measured(tools.run)


def test_stops_are_measured_and_told_as_json_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kept = tmp_path / "latest.json"
    monkeypatch.setattr(report, "save", partial(report.save, path=kept))
    monkeypatch.setattr(report, "as_json", partial(report.as_json, path=kept))
    monkeypatch.setattr(door.rivals, "prepare", lambda: None)
    monkeypatch.setattr(door, "Bench", Small)
    monkeypatch.setattr(sys, "argv", ["bench", "stop", "--rounds", "2", "--much", str(MUCH)])
    assert door.main() == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    told = json.loads(line)
    assert (told["benchmark"], told["much"], told["rounds"]) == ("stop", MUCH, 2)
    assert [(one["what"], one["who"], len(one["rounds"])) for one in told["figures"]] == [
        ("stop → ok, p50", "SQLite", 2),
        ("stop → ok, p95", "SQLite", 2),
    ]
    assert all(value > 0 for one in told["figures"] for value in one["rounds"])


def test_coming_back_is_measured() -> None:
    assert (f"{reconnect.ALONE}, p95", "SQLite") in measured(reconnect.run)


def test_what_a_process_uses_is_told_finer_than_in_ticks() -> None:
    """Ten looks at a process that is asked a little: not all of them are multiples of 10 ms."""
    seen = []
    for _ in range(10):
        before = cpu_s(Small.shared.clerk)
        Small.shared.person("ada")
        seen.append(cpu_s(Small.shared.clerk) - before)
    assert all(value > 0 for value in seen), seen
    assert any(round(value * 1e6) % 10_000 for value in seen), seen
