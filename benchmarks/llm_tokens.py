"""What a streamed token costs: CPU of the whole worker process on the `openai:` path, beside a bare client's.

`python -m benchmarks.llm_tokens [--streams 50] [--tokens 400] [--tokens-per-s 50] [--rounds 3]`

An LLM server in a process of its own streams to each runner in turn, each in a process of its own: httpx2 and aiohttp
with nothing around them, pydantic-ai alone (in its own environment, from a lock), this project's reader alone, and a
whole worker: claim, context, modes, deltas through Redis, the database. The runners take turns, and each figure is the
median of the rounds. CPU is what the kernel says that the process used between the first and the last token, start-up
excluded.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers import environment

ROOT = Path(__file__).resolve().parent.parent

# Each runner opens the same streams at once, reads every token, and prints its own CPU seconds and its tokens.
MEASURE = """
import asyncio, json, resource, sys
url, streams, model = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
async def measure(one, *args):
    await one(*args)
    began = cpu_s()
    tokens = sum(await asyncio.gather(*(one(*args) for _ in range(streams))))
    print(json.dumps({"cpu_s": cpu_s() - began, "tokens": tokens}))
"""

BARE_HTTPX2 = """
import httpx2
async def one(client):
    tokens = 0
    body = {"model": model, "messages": [{"role": "user", "content": "go"}], "stream": True}
    async with client.stream("POST", url + "/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    tokens += bool(choice["delta"].get("content"))
    return tokens
async def main():
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=None, limits=limits, trust_env=False) as client:
        await measure(one, client)
asyncio.run(main())
"""

BARE_AIOHTTP = """
import aiohttp
async def one(client):
    tokens = 0
    body = {"model": model, "messages": [{"role": "user", "content": "go"}], "stream": True}
    async with client.post(url + "/chat/completions", json=body) as response:
        async for line in response.content:
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    tokens += bool(choice["delta"].get("content"))
    return tokens
async def main():
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as client:
        await measure(one, client)
asyncio.run(main())
"""

PYDANTIC_AI = """
import httpx2
from openai import AsyncOpenAI
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import ModelRequest, PartDeltaEvent, PartStartEvent, UserPromptPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
async def one(peer):
    tokens = 0
    async with model_request_stream(peer, [ModelRequest([UserPromptPart("go")])]) as events:
        async for event in events:
            tokens += isinstance(event, (PartDeltaEvent, PartStartEvent))
    return tokens
async def main():
    http = httpx2.AsyncClient(timeout=None, limits=httpx2.Limits(max_connections=None), trust_env=False)
    client = AsyncOpenAI(base_url=url, api_key="none", http_client=http, max_retries=0, timeout=None)
    await measure(one, OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client)))
asyncio.run(main())
"""

READER = """
from workers.llm import open_llm
from workers.llm.base import Limits, Prompt, Said, Text
async def one(llm):
    return sum([isinstance(piece, Text) async for piece in llm.stream(Prompt("", (Said("user", "go"),)))])
async def main():
    await measure(one, open_llm("openai:" + model, Limits(), env={"OPENAI_BASE_URL": url}))
asyncio.run(main())
"""


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print a table, and return the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--streams", type=int, default=50)
    options.add_argument("--tokens", type=int, default=400)
    options.add_argument("--tokens-per-s", type=float, default=50.0)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args(arguments)
    model = f"tokens-{given.tokens}@{given.tokens_per_s:g}"
    pydantic_ai = str(environment.python("pydantic-ai"))
    from benchmarks.llm_worker import Worker
    from tests.llm_process import LLMProcess

    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="llm-tokens-") as folder, LLMProcess(Path(folder)) as server:
        runners = {
            "httpx2, nothing around it": (sys.executable, BARE_HTTPX2),
            "aiohttp, nothing around it": (sys.executable, BARE_AIOHTTP),
            "pydantic-ai alone": (pydantic_ai, PYDANTIC_AI),
            "this project's reader": (sys.executable, READER),
        }
        with Worker(Path(folder), server, f"openai:{model}", given.streams) as worker:
            for number in range(given.rounds):
                for name, (python, code) in runners.items():
                    told = _run(python, code, server.base_url, given.streams, model)
                    found.setdefault(name, []).append(_us(told, given.streams * given.tokens))
                told = asyncio.run(worker.measure())
                found.setdefault("the whole worker", []).append(_us(told, given.streams * given.tokens))
                print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
    figures = {name: statistics.median(values) for name, values in found.items()}
    print(f"\n{given.streams} streams at once, {given.tokens} tokens each, {given.tokens_per_s:g} a second\n")
    print("| | CPU a token, µs | streams a core at that pace |\n|---|---|---|")
    for name, us in figures.items():
        print(f"| {name} | {us:.0f} | {1e6 / us / given.tokens_per_s if given.tokens_per_s else 0:.0f} |")
    return {"streams": given.streams, "tokens_per_s": given.tokens_per_s, "cpu_us_per_token": figures, "rounds": found}


def _us(told: dict[str, float], expected: int) -> float:
    assert told["tokens"] == expected, f"{told['tokens']} tokens arrived instead of {expected}"
    return told["cpu_s"] / expected * 1e6


def _run(python: str, code: str, url: str, streams: int, model: str) -> dict[str, float]:
    command = [python, "-c", MEASURE + code, url, str(streams), model]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, float] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    main()
