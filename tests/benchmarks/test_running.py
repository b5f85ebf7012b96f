"""The benchmarks run, refuse what is wrong, and fail where a peer is missing."""

import sys
from pathlib import Path

import httpx2
import pytest

from benchmarks import __main__ as door
from benchmarks.bench import Bench, Wrong
from benchmarks.chats import Asked
from benchmarks.llm import text_of
from benchmarks.peers import environment
from benchmarks.send import check


def test_the_llm_says_what_its_name_says_at_its_pace() -> None:
    with Bench() as bench:
        url = bench.llm()
        with httpx2.Client(trust_env=False) as http:
            body = {"model": "tokens-12@100", "messages": [], "stream": True}
            answer = http.post(f"{url}/chat/completions", json=body)
        assert answer.elapsed.total_seconds() >= 0.1
        said = [part.partition('"')[0] for part in answer.text.split('"content": "')[1:]]
        assert "".join(said) == text_of(12)
        assert answer.text.rstrip().endswith("[DONE]")


def test_an_answer_that_is_not_the_llms_is_no_figure() -> None:
    check("ours", [Asked(0.0, text=text_of(3))], text_of(3))
    with pytest.raises(Wrong, match="ours answered 't1 t2"):
        check("ours", [Asked(0.0, text="t1 t2")], text_of(3))


def test_a_peer_that_cannot_be_installed_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chainlit").mkdir()
    (tmp_path / "chainlit" / "requirements.txt").write_text("not a requirement\n")
    monkeypatch.setattr(environment, "HERE", tmp_path)
    monkeypatch.setattr(environment, "MADE", tmp_path / "made")
    monkeypatch.setattr(sys, "argv", ["bench", "stop"])
    with pytest.raises(environment.Missing, match="chainlit"):
        door.main()


def test_a_benchmark_that_fails_is_told_and_the_others_still_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def measure(name: str, given: object) -> str:
        ran.append(name)
        if name == "send":
            raise Wrong("Chainlit answered something else")
        return "{}"

    monkeypatch.setattr(door.rivals, "prepare", lambda: None)
    monkeypatch.setattr(door, "_measure", measure)
    monkeypatch.setattr(sys, "argv", ["bench", "send", "stop"])
    assert door.main() == 1
    assert ran == ["send", "stop"]
    monkeypatch.setattr(sys, "argv", ["bench", "stop"])
    assert door.main() == 0
    assert "Failed: send" in capsys.readouterr().out
