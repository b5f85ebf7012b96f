"""400 answers at once, each at 50 tokens a second, all in one worker process: does it keep pace, and what does it cost?

Ten sessions share a socket, so 40 sockets follow the 400 answers; with an LLM over HTTP, there are 40 answers. They are
looked at while all of them are being written.
"""

import asyncio
import json
from collections import Counter

from benchmarks.bench import Bench, Wrong, memory_bytes
from benchmarks.chats import PATIENCE_S, Ours, new_sessions
from benchmarks.figures import Figure, Rounds, percentile
from tests.stack import Stack

TITLE = "400 live answers at 50 tokens a second in one worker process"
PER_SOCKET, PER_S = 10, 50
TOKENS = PER_S * 60  # more than anybody waits for
DEMO = f"demo?tokens={TOKENS}&tokens_per_s={PER_S}&first_token_ms=0"
PACE, SLOWEST, MEMORY = "tokens a second, each answer", "tokens a second, slowest of a hundred", "memory of the worker"
CPU, WEB_CPU, BUSY = "CPU a token, worker", "CPU a token, web on daphne", "cores that the worker takes"
LLMS = {
    "SQLite, demo LLM": ("sqlite", DEMO, 400),
    "Postgres, demo LLM": ("postgres", DEMO, 400),
    "SQLite, HTTP LLM": ("sqlite", f"openai:tokens-{TOKENS}@{PER_S}", 40),
}


async def run(bench: Bench) -> list[Figure]:
    llm_url, rounds = bench.llm(), Rounds()
    for _ in range(bench.rounds):
        for name, (database, llm, count) in LLMS.items():
            # A process each time: what one round left in its memory is not the next one's.
            env = {"CHAT_LLM": llm, "OPENAI_BASE_URL": llm_url, "OPENAI_API_KEY": "none"}
            stack = bench.stack(database, env=env)
            crowd = await gather(stack, count)
            await crowd.all_began()
            with bench.cost(stack.workers[0]) as worker, bench.cost(stack.webs[0]) as web:
                before = crowd.tokens.copy()
                await asyncio.sleep(bench.seconds(5))
                after = crowd.tokens.copy()
            if len(after) != count or crowd.over:
                raise Wrong(f"{len(after)} of {count} answers are there, and {crowd.over} have ended")
            shown, who = [after[one] - before[one] for one in after], f"{len(after)}, {name}"
            rounds.add(PACE, who, "/s", sum(shown) / count / worker.wall_s)
            rounds.add(SLOWEST, who, "/s", percentile(shown, 0.01) / worker.wall_s)
            rounds.add(MEMORY, who, "MB", memory_bytes(stack.workers[0]) / 1e6)
            rounds.add(CPU, who, "µs", worker.cpu_s / sum(shown) * 1e6)
            rounds.add(WEB_CPU, who, "µs", web.cpu_s / sum(shown) * 1e6)
            rounds.add(BUSY, who, "cores", worker.cpu_s / worker.wall_s)
            crowd.close()
            bench.end(stack)
    demo = [f"{count}, {name}" for name, (_, llm, count) in LLMS.items() if llm == DEMO]
    return rounds.figures({(MEMORY, name): 120 for name in demo}, {(PACE, name): 0.98 * PER_S for name in demo})


class Crowd:
    """Many conversations: how many tokens of each answer are shown."""

    def __init__(self, count: int) -> None:
        self.count, self.tokens, self.over, self.chats = count, Counter[str](), 0, list[Ours]()
        self._all_began = asyncio.Event()

    def hear(self, text: str) -> None:
        if '"message.delta"' in text[:60]:
            frame = json.loads(text)
            self.tokens[frame["run_id"]] += len(frame["data"]["text"].split())
            if len(self.tokens) == self.count:
                self._all_began.set()
        elif '"run.failed"' in text[:60] or '"run.succeeded"' in text[:60]:
            self.over += 1

    async def all_began(self) -> None:
        await asyncio.wait_for(self._all_began.wait(), PATIENCE_S)
        await asyncio.sleep(1)

    def close(self) -> None:
        for chat in self.chats:
            chat.close()


async def gather(stack: Stack, count: int) -> Crowd:
    """Open so many conversations, and ask something in each when all are open."""
    crowd = Crowd(count)
    tokens = [stack.person(f"user{first}").token for first in range(0, count, PER_SOCKET)]
    everybody_is_here = asyncio.Barrier(len(tokens))

    async def some(token: str, first: int) -> None:
        chat = await Ours.connect(stack, token)
        crowd.chats.append(chat)
        session_ids = await new_sessions(stack, token, min(PER_SOCKET, count - first))
        for session_id in session_ids:
            await chat.follow(session_id)
        await everybody_is_here.wait()
        for session_id in session_ids:
            await chat.command("message.send", session_id=session_id, content="Go on")
        chat.socket.heard = crowd.hear  # what came before is not counted

    await asyncio.gather(*(some(token, number * PER_SOCKET) for number, token in enumerate(tokens)))
    return crowd
