"""One server, watched as in production: JSON lines, metrics behind a token, spans to a collector; full of canaries.

Its first web process runs on daphne, its second one on uvicorn.

A canary is a secret, or something that a person or a provider wrote, that no line of any log may hold.
"""

import sys
from collections.abc import Iterator

import pytest

from tests.deeds import Deeds
from tests.processes import Process, free_port
from tests.stack import Stack, Web, Workshop
from tests.watching.collector import Collector

LLM_KEY = "canary-of-the-llm-key-81c2"
METRICS_TOKEN = "canary-of-the-metrics-token-5f0e"
INSTRUCTIONS = "canary-of-the-instructions-77ab"
PROVIDERS_WORDS = ("secret sk-123", "http://10.0.0.1")  # what the scripted LLM server's errors say


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


@pytest.fixture(scope="package")
def deeds(tmp_path_factory: pytest.TempPathFactory, database: str) -> Deeds:
    return Deeds(tmp_path_factory.mktemp(f"deeds-{database}"))


@pytest.fixture(scope="package")
def beat(stack: Stack) -> Iterator[Process]:
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "chatproject", "beat", "--pidfile="]
    schedule = ["-s", str(stack.folder / "beat")]
    ready = lambda one: "starting" in one.text().lower()  # noqa: E731
    made = Process("beat", [*command, *schedule], stack.folder / "beat.log", env=stack.env, ready=ready)
    try:
        yield made.start()
    finally:
        made.end()


@pytest.fixture(scope="package")
def stack(workshop: Workshop, database: str, collector: Collector, deeds: Deeds) -> Iterator[Stack]:
    env = {
        "CHAT_LOG": "json",
        "CHAT_LOG_LEVEL": "DEBUG",
        "CHAT_LLMS": "openai:echo,openai:500,openai:error-in-stream,openai:garbage",
        "OPENAI_API_KEY": LLM_KEY,
        "CHAT_METRICS_TOKEN": METRICS_TOKEN,
        "CHAT_METRICS_PORT": str(free_port()),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with Stack(workshop, database, llm=True, env=env | deeds.env) as made:
        other = Web("web2", made.folder / "web2.log", made.env, "uvicorn")
        at = other.command.index("--log-level")
        del other.command[at : at + 2]  # as loud as it is by default
        made.webs.append(other)
        made.start()
        deeds.employ(made, tools=["repeat", "choke"])
        made.ask("Agent.objects.update(instructions=text)", text=INSTRUCTIONS)
        yield made
