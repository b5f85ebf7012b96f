"""A client comes back into an answer of 2,000 tokens that is still being written: until it has all of its words.

The answer goes on meanwhile, 50 tokens a second. Either somebody else watches it, or nobody does: then the web process
reads the session's log and the draft anew.
"""

import json
import time

from benchmarks.bench import DATABASES, Bench, Wrong
from benchmarks.chats import Ours
from benchmarks.figures import Figure, Rounds
from benchmarks.llm import text_of
from tests.stack import Stack

TITLE = "Coming back into an answer of 2,000 tokens that is being written"
MODEL = "tokens-2000@0+50"
WORDS = text_of(2000)
WATCHED, ALONE, DIALLED = "subscribe → all words, watched", "subscribe → all words, unwatched", "connect → all words"
CPU = "CPU of the web process for one that comes back"


async def run(bench: Bench) -> list[Figure]:
    llm_url, rounds = bench.llm(), Rounds()
    stacks: dict[str, tuple[Stack, str, Ours]] = {}
    for database, name in DATABASES.items():
        env = {"CHAT_LLM": f"openai:{MODEL}", "OPENAI_BASE_URL": llm_url, "OPENAI_API_KEY": "none"}
        stack = bench.stack(database, env=env | {"CHAT_LLM_TOTAL_S": "3600"})
        token = stack.person("ada").token
        chat = await Ours.open(stack, token)
        await chat.command("message.send", session_id=chat.session_id, content="Tell me everything")
        await words(chat)
        stacks[name] = stack, token, chat
    for _ in range(bench.rounds):
        for name, (stack, token, chat) in stacks.items():
            times = bench.times(30)
            for what in (WATCHED, ALONE):
                if what == ALONE:
                    chat.close()
                with bench.cost(stack.webs[0]) as cost:
                    back = [await come_back(stack, token, chat.session_id) for _ in range(times)]
                rounds.spread(what, name, "ms", [subscribed for _, subscribed in back])
            rounds.spread(DIALLED, name, "ms", [dialled for dialled, _ in back])
            rounds.add(CPU, name, "ms", cost.cpu_s / times * 1000)
            watching = await Ours.connect(stack, token)
            await watching.follow(chat.session_id)
            stacks[name] = stack, token, watching
    for _, _, chat in stacks.values():
        chat.close()
    return rounds.figures({(f"{what}, p95", name): 20 for name in stacks for what in (WATCHED, ALONE)})


async def come_back(stack: Stack, token: str, session_id: str) -> tuple[float, float]:
    """Connect, subscribe, and have all words: how long since the first and since the second step, in ms."""
    begin = time.perf_counter()
    chat = await Ours.connect(stack, token)
    chat.session_id = session_id
    ready = time.perf_counter()
    chat.send("session.subscribe", session_id=session_id)
    at = await words(chat)
    chat.close()
    return (at - begin) * 1000, (at - ready) * 1000


async def words(chat: Ours) -> float:
    """Wait until the answer's first 2,000 tokens are here, and give the time of that. Raises Wrong."""
    text = ""
    while len(text) < len(WORDS):
        at, said = await chat.heard.next()
        frame = json.loads(said)
        if frame["type"] in ("error", "run.failed"):
            raise Wrong(said)
        if frame["type"] != "message.delta":
            continue
        if frame["data"]["offset"] not in (0, len(text)):
            raise Wrong(f"{len(text)} characters are here, and then came {said[:300]}")
        text = text[: frame["data"]["offset"]] + frame["data"]["text"]
    if not text.startswith(WORDS):
        raise Wrong(f"other words came: {text[:200]}")
    return at
