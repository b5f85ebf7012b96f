"""The program that every worker is: it works, ends and starts anew as Celery's own does, and holds less."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LONG, NewStack
from tests.processes import ROOT, Process, eventually
from tests.stack import Stack

COMMAND = [sys.executable, "-m", "chatproject.worker"]
CELERYS = [sys.executable, "-m", "celery", "--quiet", "--app", "chatproject", "worker", "--pool", "threads"]
CELERYS += ["--queues", "runs,jobs", "--without-gossip", "--without-mingle"]


def worker(stack: Stack, name: str, command: list[str]) -> Process:
    told = [*command, "--hostname", f"{name}@%h"]
    ready = f"{name}@{socket.gethostname()} ready."
    return Process(name, told, stack.folder / f"{name}.log", env=stack.env, ready=lambda one: ready in one.text())


@pytest.mark.enough_on("postgres")
async def test_told_to_stop_it_hands_back_what_it_writes_and_has_loaded_little(new_stack: NewStack) -> None:
    stack = new_stack(env={"CHAT_LLM": LONG, "PYTHONPROFILEIMPORTTIME": "1"})
    [writing] = stack.workers
    async with stack.client(stack.person("ada")) as client:
        session_id = await client.new_session()
        fold = await client.subscribe(session_id)
        run_id = await client.say(session_id, "Go on")
        await client.until(lambda: fold.drafts, "the answer has begun")
        writing.terminate()
        assert await asyncio.to_thread(writing.wait, 10) == 0
    found = stack.ask("Run.objects.values_list('status', 'attempt', 'crashes').get(pk=run_id)", run_id=run_id)
    assert found == ["queued", 2, 0]
    loaded = set(re.findall(r"import time: .+\| +(\S+)$", writing.text(), re.M))
    assert {"celery.worker.worker", "workers.modes.direct", "channels_redis.serializers"} <= loaded
    # Parts of them, because what was looked for in vain is listed too.
    assert loaded & {"prompt_toolkit.completion", "cryptography.hazmat", "rich.console", "twisted.logger"} == set()


@pytest.mark.enough_on("sqlite")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_it_ends_as_celerys_own_program_does(new_stack: NewStack, number: int) -> None:
    stack = new_stack(webs=0, workers=0)
    both = [worker(stack, "ours", COMMAND), worker(stack, "celerys", CELERYS)]
    try:
        for one in both:
            one.spawn()
        for one in both:
            one.wait_ready()
            one.signal(number)
        ours, celerys = (one.wait() for one in both)
        said = [re.findall(r"worker: (\w+ shutdown)", one.text()) for one in both]
    finally:
        for one in both:
            one.end()
    assert ours == celerys
    assert said[0] == said[1] != []


@pytest.mark.enough_on("sqlite")
def test_at_a_hangup_it_starts_anew_with_the_same_options(new_stack: NewStack) -> None:
    stack = new_stack(webs=0, workers=0)
    one = worker(stack, "anew", COMMAND)
    try:
        one.start().signal(signal.SIGHUP)
        ready = f"anew@{socket.gethostname()} ready."
        eventually(lambda: one.text().count(ready) == 2, "it is ready again")
        assert one.alive
    finally:
        one.end()


@pytest.mark.parametrize("words", [["--quees", "runs"], ["--host", "w1"], ["runs"], ["--concurrency", "many"]])
def test_it_refuses_what_it_does_not_know(words: list[str]) -> None:
    done = subprocess.run([*COMMAND, *words], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert words[0] in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("demo?tokens=0", "tokens is 0"),
        ("openai", "names no model"),
        ("smart:1", "There is no language model 'smart:1'"),
    ],
)
def test_it_refuses_a_language_model_that_there_cannot_be(tmp_path: Path, name: str, why: str) -> None:
    env = {"CHAT_ENV": "local", "CHAT_DATA_DIR": str(tmp_path), "CHAT_LLM": name}
    done = subprocess.run(
        COMMAND, cwd=ROOT, env=os.environ | env, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith("CHAT_LLM cannot be used. ") and why in told
    assert "Traceback" not in done.stderr


@pytest.mark.enough_on("sqlite")
async def test_one_that_is_only_offered_keeps_no_other_from_answering(new_stack: NewStack) -> None:
    stack = new_stack(env={"CHAT_LLM": "demo?tokens=3&tokens_per_s=0", "CHAT_LLMS": "smart:1"})
    async with stack.client(stack.person("ada")) as client:
        session_id = await client.new_session()
        fold = await client.subscribe(session_id)
        await client.say(session_id, "Hello")
        await client.until(lambda: any(one["content"] == "w1 w2 w3" for one in fold.messages.values()), "the answer")
    assert "There is no language model 'smart:1'" in stack.workers[0].text()
