"""40 users at once, each saying the next thing when the last answer is whole: how many answers, how soon they begin.

One web process and one worker serve them, as `make run` starts them.
"""

import asyncio
import time
from collections.abc import Sequence

from benchmarks import rivals
from benchmarks.bench import DATABASES, Bench
from benchmarks.chats import Agno, Asked, Chainlit, Chat, Ours
from benchmarks.figures import Figure, Rounds, percentile
from benchmarks.llm import text_of
from benchmarks.send import check

USERS, TOKENS = 40, 100
TITLE = f"{USERS} users at once, answers of {TOKENS} tokens at full speed"
MODEL = f"tokens-{TOKENS}@0"
DEMO = f"demo?tokens={TOKENS}&tokens_per_s=0&first_token_ms=0"
DEMO_TEXT = " ".join(f"w{number}" for number in range(1, TOKENS + 1))
RATE, FIRST = "answers a second, {} users", "first token, p95, {} users"


Crowds = dict[str, tuple[Sequence[Chat], str | None, str]]  # by name: its users, the LLM they name, what it answers


async def run(bench: Bench) -> list[Figure]:
    llm_url, rounds = bench.llm(), Rounds()
    crowds = await ours(bench, llm_url) | await theirs(bench, llm_url)
    for chats, llm, _ in crowds.values():
        await asyncio.gather(*(one.ask("Hello there", llm) for one in chats))
    for _ in range(bench.rounds):
        for name, (chats, llm, text) in crowds.items():
            begin = time.perf_counter()
            with bench.cost():
                talks = await asyncio.gather(*(talk(one, llm, begin + bench.seconds(4)) for one in chats))
            passed_s = time.perf_counter() - begin
            asked = [one for said in talks for one in said]
            check(name, asked, text)
            rounds.add(RATE.format(len(chats)), name, "/s", len(asked) / passed_s)
            rounds.add(FIRST.format(len(chats)), name, "ms", percentile([one.first for one in asked], 0.95))
    for chats, *_ in crowds.values():
        for one in chats:
            one.close()
    mine = [name for name in crowds if name.endswith("LLM")]
    first, rate = FIRST.format(USERS), RATE.format(USERS)
    return rounds.figures({(first, name): 250 for name in mine}, {(rate, name): 200 for name in mine})


async def ours(bench: Bench, llm_url: str) -> Crowds:
    crowds: Crowds = {}
    for database, name in DATABASES.items():
        env = {"CHAT_LLM": f"openai:{MODEL}", "CHAT_LLMS": DEMO, "OPENAI_BASE_URL": llm_url, "OPENAI_API_KEY": "none"}
        stack = bench.stack(database, env=env)
        users = [await Ours.open(stack, stack.person(f"user{n}").token) for n in range(USERS)]
        crowds[f"{name}, demo LLM"] = users, DEMO, DEMO_TEXT
        crowds[f"{name}, HTTP LLM"] = users, None, text_of(TOKENS)
    return crowds


async def theirs(bench: Bench, llm_url: str) -> Crowds:
    chainlit, agno = rivals.chainlit(bench, llm_url, MODEL)[0], rivals.agno(bench, llm_url, MODEL)[0]
    return {
        "Chainlit": ([await Chainlit.open(chainlit) for _ in range(USERS)], None, text_of(TOKENS)),
        "Agno, durable": ([Agno(agno) for _ in range(USERS)], None, text_of(TOKENS)),
    }


async def talk(chat: Chat, llm: str | None, until: float) -> list[Asked]:
    """Say one thing after the other until time is up, and wait for the last answer."""
    said = [await chat.ask("Hello there", llm)]
    while time.perf_counter() < until:
        said.append(await chat.ask("Hello there", llm))
    return said
