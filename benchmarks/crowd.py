"""40 users at once, each saying the next thing when the last answer is whole: how many answers, how soon they begin.

One web process and one worker serve them, as `make run` starts them. Each round begins with a session for each user:
the peers' LLMs are told nothing of what was said before, and ours all of it.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

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
LONG = 60  # answers in a session: from here on it is read to its limit, and summed up from time to time
IN_LONG = " in sessions of {} answers"


class Crowd(NamedTuple):
    chats: Sequence[Chat]
    llm: str | None  # that they name
    text: str  # that it answers


async def run(bench: Bench) -> list[Figure]:
    llm_url, rounds = bench.llm(), Rounds()
    crowds, long = await ours(bench, llm_url)
    crowds |= await theirs(bench, llm_url)
    for chats, llm, _ in long.values():
        await asyncio.gather(*(talk(one, llm, answers=LONG) for one in chats))
    for _ in range(bench.rounds):
        for name, one in crowds.items():
            await asyncio.gather(*(begin(chat, one.llm) for chat in one.chats))
            await measure(bench, rounds, name, one)
        for name, one in long.items():
            await measure(bench, rounds, name, one, IN_LONG.format(LONG))
    for one in (*crowds.values(), *long.values()):
        for chat in one.chats:
            chat.close()
    mine = [name for name in crowds if name.endswith("LLM")]
    first, rate = FIRST.format(USERS), RATE.format(USERS)
    return rounds.figures({(first, name): 250 for name in mine}, {(rate, name): 200 for name in mine})


async def begin(chat: Chat, llm: str | None) -> None:
    """Begin a session, up to its first answer: it is named then, once in its life."""
    await chat.anew()
    await chat.ask("Hello there", llm)


async def measure(bench: Bench, rounds: Rounds, name: str, crowd: Crowd, where: str = "") -> None:
    began = time.perf_counter()
    with bench.cost():
        talks = await asyncio.gather(*(talk(one, crowd.llm, began + bench.seconds(4)) for one in crowd.chats))
    passed_s = time.perf_counter() - began
    asked = [one for said in talks for one in said]
    check(name, asked, crowd.text)
    rounds.add(RATE.format(len(talks)) + where, name, "/s", len(asked) / passed_s)
    rounds.add(FIRST.format(len(talks)) + where, name, "ms", percentile([one.first for one in asked], 0.95))


async def ours(bench: Bench, llm_url: str) -> tuple[dict[str, Crowd], dict[str, Crowd]]:
    """Those who begin a session each time, and those who go on in a long one."""
    crowds, long = {}, {}
    for database, name in DATABASES.items():
        env = {"CHAT_LLM": f"openai:{MODEL}", "CHAT_LLMS": DEMO, "OPENAI_BASE_URL": llm_url, "OPENAI_API_KEY": "none"}
        stack = bench.stack(database, env=env)
        people = [stack.person(f"user{n}").token for n in range(USERS)]
        users = [await Ours.open(stack, token) for token in people]
        crowds[f"{name}, demo LLM"] = Crowd(users, DEMO, DEMO_TEXT)
        crowds[f"{name}, HTTP LLM"] = Crowd(users, None, text_of(TOKENS))
        long[f"{name}, demo LLM"] = Crowd([await Ours.open(stack, token) for token in people], DEMO, DEMO_TEXT)
    return crowds, long


async def theirs(bench: Bench, llm_url: str) -> dict[str, Crowd]:
    chainlit, agno = rivals.chainlit(bench, llm_url, MODEL)[0], rivals.agno(bench, llm_url, MODEL)[0]
    return {
        "Chainlit": Crowd([await Chainlit.open(chainlit) for _ in range(USERS)], None, text_of(TOKENS)),
        "Agno, durable": Crowd([Agno(agno) for _ in range(USERS)], None, text_of(TOKENS)),
    }


async def talk(chat: Chat, llm: str | None, until: float = math.inf, answers: float = math.inf) -> list[Asked]:
    """Say one thing after the other until time is up or enough was said, and wait for the last answer."""
    said = [await chat.ask("Hello there", llm)]
    while time.perf_counter() < until and len(said) < answers:
        said.append(await chat.ask("Hello there", llm))
    return said
