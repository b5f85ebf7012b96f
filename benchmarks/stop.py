"""A stop while words arrive: until its `ok`, which says that the answer is stored as far as it was shown."""

import json
import time

from benchmarks.bench import DATABASES, Bench, Wrong
from benchmarks.chats import Ours, ok_of
from benchmarks.figures import Figure, Rounds

TITLE = "Stop, while an answer is written at 50 tokens a second"
LLM = "demo?tokens=2000&tokens_per_s=50&first_token_ms=0"
STOP = "stop → ok"


async def run(bench: Bench) -> list[Figure]:
    chats, rounds = {}, Rounds()
    for database, name in DATABASES.items():
        stack = bench.stack(database, env={"CHAT_LLM": LLM})
        chats[name] = await Ours.open(stack, stack.person("ada").token)
    for chat in chats.values():
        for _ in range(bench.times(5)):
            await stop(chat)
    for _ in range(bench.rounds):
        for name, chat in chats.items():
            with bench.cost():
                rounds.spread(STOP, name, "ms", [await stop(chat) for _ in range(bench.times(40))])
    for chat in chats.values():
        chat.close()
    return rounds.figures({(f"{STOP}, p95", name): 20 for name in chats})


async def stop(chat: Ours) -> float:
    """Say something, wait for some words, and stop: how long until `ok`, in ms. Raises Wrong where words come later."""
    run_id = (await chat.command("message.send", session_id=chat.session_id, content="Go on"))["run_id"]
    for _ in range(3):
        await chat.heard.until(lambda text: '"message.delta"' in text and run_id in text)
    begin = time.perf_counter()
    ref, seen = chat.send("run.cancel", run_id=run_id), []
    while True:
        at, text = await chat.heard.next()
        frame = json.loads(text)
        seen.append(frame["type"])
        if frame.get("ref") == ref:
            break
    if ok_of(frame)["status"] != "cancelled" or "run.cancelled" not in seen:
        raise Wrong(f"the stop was answered {text}, after {seen}")
    if "message.delta" in seen[seen.index("run.cancelled") :]:
        raise Wrong("words came after the stop")
    return (at - begin) * 1000
