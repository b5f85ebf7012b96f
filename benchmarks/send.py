"""One user, one message after the other: until it is taken, and until the first words of the answer are there.

The LLM is a server of its own, the same for all, whose own first byte is measured in the same run and taken off.
"""

from benchmarks import rivals
from benchmarks.bench import DATABASES, Bench, Wrong
from benchmarks.chats import Agno, Asked, Chainlit, Chat, Ours, Straight
from benchmarks.figures import Figure, Rounds, Targets, percentile, ratio
from benchmarks.llm import text_of

TITLE = "A message of one user, answered by an LLM over HTTP"
TOKENS = 20
MODEL = f"tokens-{TOKENS}@0"
OK, FIRST, FIRST_DEMO = "send → ok", "first token over the LLM's own first byte", "first token, demo LLM at full speed"
DEMO = f"demo?tokens={TOKENS}&tokens_per_s=0&first_token_ms=0"

MOST: Targets = {
    (f"{OK}, p50", "SQLite"): 4,
    (f"{OK}, p50", "Postgres"): 5,
    (f"{FIRST}, p50", "SQLite"): 8,
    (f"{FIRST}, p50", "Postgres"): 10,
}
MOST |= {(f"{OK}, p95", who): 10 for who in ("SQLite", "Postgres")}
MOST |= {(f"{FIRST}, p95", who): 20 for who in ("SQLite", "Postgres")}


async def run(bench: Bench) -> list[Figure]:
    llm_url = bench.llm()
    straight = Straight(llm_url, MODEL)
    chats = await ours(bench, llm_url) | await theirs(bench, llm_url)
    for chat in (straight, *chats.values()):
        await several(chat, bench.times(15))  # caches, pools and imports
    rounds = Rounds()
    for _ in range(bench.rounds):
        own = percentile([one.first for one in await several(straight, bench.times(40))], 0.5)
        rounds.add("the LLM's own first byte, p50", "its server", "ms", own)
        for name, chat in chats.items():
            with bench.cost():
                asked = await several(chat, bench.times(80))
            check(name, asked, text_of(TOKENS))
            rounds.spread(OK, name, "ms", [one.ok for one in asked])
            rounds.spread(FIRST, name, "ms", [one.first - own for one in asked])
        for name in DATABASES.values():
            asked = await several(chats[name], bench.times(40), DEMO)
            rounds.spread(FIRST_DEMO, name, "ms", [one.first for one in asked])
    for chat in chats.values():
        chat.close()
    return rounds.figures(MOST) + compared(rounds)


async def ours(bench: Bench, llm_url: str) -> dict[str, Chat]:
    chats: dict[str, Chat] = {}
    for database, name in DATABASES.items():
        env = {"CHAT_LLM": f"openai:{MODEL}", "CHAT_LLMS": DEMO, "OPENAI_BASE_URL": llm_url, "OPENAI_API_KEY": "none"}
        stack = bench.stack(database, env=env)
        chats[name] = await Ours.open(stack, stack.person("ada").token)
    return chats


async def theirs(bench: Bench, llm_url: str) -> dict[str, Chat]:
    chainlit = await Chainlit.open(rivals.chainlit(bench, llm_url, MODEL)[0])
    return {"Chainlit": chainlit, "Agno, durable": Agno(rivals.agno(bench, llm_url, MODEL)[0])}


def compared(rounds: Rounds) -> list[Figure]:
    """Set ours beside the others, each on what the other keeps its talks in."""
    beside = []
    for what in (OK, FIRST):
        for other in ("Chainlit", "Agno, durable"):
            mine = rounds.figure(f"{what}, p50", "Postgres" if other.startswith("Agno") else "SQLite")
            beside.append(ratio(mine, rounds.figure(f"{what}, p50", other)))
    return beside


async def several(chat: Chat, count: int, llm: str | None = None) -> list[Asked]:
    return [await chat.ask("Hello there", llm) for _ in range(count)]


def check(name: str, asked: list[Asked], text: str) -> None:
    """Raises Wrong where an answer is not the LLM's."""
    for one in asked:
        if one.text.strip() != text.strip():
            raise Wrong(f"{name} answered {one.text[:200]!r}")
