"""The OpenAI-compatible test server as an OS process of its own, and what it wrote down."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent


class LLMProcess:
    """`with LLMProcess(folder) as server:` — `server.env` points `openai:MODEL` at it."""

    def __init__(self, folder: Path) -> None:
        self.record = folder / "llm-server.jsonl"
        self._process: subprocess.Popen[str] | None = None
        self.base_url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.llm_server", "--port", "0", "--record", str(self.record)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        port = self._process.stdout.readline().strip()
        assert port, "the LLM test server did not start"
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            if self._process.stdout:
                self._process.stdout.close()

    @property
    def env(self) -> dict[str, str]:
        return {
            "OPENAI_BASE_URL": self.base_url,
            "OPENAI_API_KEY": "test-key",
            "ANTHROPIC_BASE_URL": self.base_url.removesuffix("/v1"),
            "ANTHROPIC_API_KEY": "test-key",
        }

    def events(self, event: str, **facts: Any) -> list[dict[str, Any]]:
        """Return what was written down of one kind (`request`, `answered`, `close`), where all the facts are so."""
        lines = [json.loads(line) for line in self.record.read_text(encoding="utf-8").splitlines()]
        return [
            line
            for line in lines
            if line["event"] == event and all(line.get(name) == value for name, value in facts.items())
        ]

    def requests_with(self, text: str) -> list[dict[str, Any]]:
        """Return the requests whose last message holds the text: a test knows its own by it."""
        return [request for request in self.events("request") if text in str(request["messages"][-1]["content"])]

    def wait_for(self, event: str, *, within_s: float = 5.0, **facts: Any) -> dict[str, Any]:
        """Return the first such event as soon as it is there."""
        until = time.monotonic() + within_s
        while not (found := self.events(event, **facts)):
            assert time.monotonic() < until, f"the LLM test server saw no {event} with {facts} within {within_s} s"
            time.sleep(0.01)
        return found[0]
