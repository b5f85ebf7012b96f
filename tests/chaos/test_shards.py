"""The live groups on two Redis servers, of which one dies: its sessions lose their deltas, and no other one notices."""

import asyncio

from channels_redis.utils import _consistent_hash

from tests.chaos.crowd import demo
from tests.journeys.test_answers import numbered
from tests.servers import Redis
from tests.stack import Stack, Workshop

ANSWER = demo(120, 4)


def shard_of(session_id: str) -> int:
    return int(_consistent_hash(f"asgi__group__session.{session_id}", 2))


async def test_one_of_two_redis_servers_dies_and_only_its_sessions_are_told_less(workshop: Workshop) -> None:
    with Stack(workshop, "sqlite", webs=0, workers=0, env={"CHAT_LLMS": ANSWER}) as stack:
        stack.start()
        second = Redis(stack.folder, "redis2")
        second.start()
        try:
            shards = f"{stack.redis.url},{second.url}"
            stack.add_web(CHAT_REDIS_SHARDS=shards)
            stack.add_worker(CHAT_REDIS_SHARDS=shards)
            await _live_and_die(stack, second)
        finally:
            second.end()


async def _live_and_die(stack: Stack, second: Redis) -> None:
    servers = (stack.redis, second)
    async with stack.client(stack.person("ada")) as client:
        homes: tuple[list[str], list[str]] = ([], [])
        while min(len(home) for home in homes) < 2:
            session_id = await client.new_session()
            homes[shard_of(session_id)].append(session_id)
        first, other = homes
        for session_id in first + other:
            await client.subscribe(session_id)

        # Both well: everything of a session is on its own server, and nothing of it on the other one.
        runs = {session_id: await client.say(session_id, "Count", llm=ANSWER) for session_id in first + other}
        for session_id, run_id in runs.items():
            await client.shown(session_id, run_id)
            home = shard_of(session_id)
            keys = [server.client().keys(f"chat:*{session_id}*") for server in servers]
            assert keys[home] and not [key for key in keys[1 - home] if b":sent:" not in key]
        for session_id, run_id in runs.items():
            await client.answered(session_id, run_id)

        # The second one dies: the others' answers are shown as they come, its own are there in the end.
        second.kill()
        runs = {session_id: await client.say(session_id, "Count", llm=ANSWER) for session_id in first + other}
        for session_id in first:
            await client.shown(session_id, runs[session_id], 200)
            assert client.folds[session_id].status(runs[session_id]) == "running", "it was not shown as it came"
        for session_id, run_id in runs.items():
            [answer] = await client.answered(session_id, run_id)
            assert answer["content"] == numbered(120)

        # It is back, and so are the deltas.
        await asyncio.to_thread(second.start)
        runs = {session_id: await client.say(session_id, "Count", llm=ANSWER) for session_id in other}
        await asyncio.gather(*(client.shown(session_id, run_id) for session_id, run_id in runs.items()))
        for session_id, run_id in runs.items():
            [answer] = await client.answered(session_id, run_id)
            assert answer["content"] == numbered(120)
        await client.agrees()
