"""The limits hold over all processes, say when to come back, and what is over them is never lost when it was taken."""

import asyncio

import pytest

from tests.conftest import LONG, STEADY, SWIFT, NewStack
from tests.wire import Client, Refused

TIGHT = {
    "CHAT_LLMS": f"{SWIFT},{STEADY},{LONG}",
    "CHAT_RUNS_PER_USER": "2",
    "CHAT_MESSAGES_PER_10S": "4",
    "CHAT_SOCKETS_PER_USER": "2",
    "CHAT_WAITING_PER_SESSION": "2",
}


async def test_each_limit_holds_over_two_web_processes(new_stack: NewStack) -> None:
    stack = new_stack(webs=2, env=TIGHT)
    ada = stack.person("ada")
    async with stack.client(ada, web=0) as client, stack.client(ada, web=1) as other:
        # A third socket.
        third = stack.client(ada, web=0)
        with pytest.raises(Refused, match="too_many_connections"):
            await third.connect()
        assert third.closes == [4429]
        assert third.errors[0]["temporary"] and third.errors[0]["retry_after_s"] > 0

        # Three answers at a time: two run, the third waits for one of them.
        sessions = [await client.new_session() for _ in range(3)]
        folds = [await client.subscribe(session_id) for session_id in sessions]
        runs = [await client.say(session_id, "Count", llm=STEADY) for session_id in sessions]
        most = 0

        def all_ended() -> bool:
            nonlocal most
            states = [fold.status(run_id) for fold, run_id in zip(folds, runs, strict=True)]
            most = max(most, states.count("running"))
            return states == ["succeeded"] * 3

        await client.until(all_ended, "all three are answered", 30)
        assert most == 2
        await client.agrees()

        # One runs, two wait, no fourth.
        busy = await client.new_session()
        await client.subscribe(busy)
        kept = [await client.say(busy, "Long", llm=LONG)]
        await client.shown(busy, kept[0])
        kept += [await client.say(busy, "Wait", llm=SWIFT), await other.say(busy, "Wait", llm=SWIFT, key="again")]
        with pytest.raises(Refused) as refused:
            await other.say(busy, "One too many")
        assert refused.value.code == "too_many_waiting" and refused.value.error["temporary"]

        # Four messages in 10 s, and what was refused was not spent.
        await client.command("run.cancel", run_id=kept[0])
        await client.answered(busy, *kept[1:])
        kept.append(await client.say(busy, "The fourth", llm=SWIFT))
        with pytest.raises(Refused) as refused:
            await other.say(busy, "The fifth")
        assert refused.value.code == "rate_limited"
        assert 0 < refused.value.error["retry_after_s"] <= 10
        with pytest.raises(Refused) as refused:
            await client.post(f"/api/sessions/{busy}/messages/", {"content": "Over HTTP"})
        assert (refused.value.status, refused.value.code) == (429, "rate_limited")

        # A repeat of what was taken spends nothing, and is answered.
        repeated = await other.command("message.send", session_id=busy, content="Wait", key="again", llm=SWIFT)
        assert repeated["duplicate"] and repeated["run_id"] == kept[2]
        await client.answered(busy, kept[3])
        await client.agrees()


async def test_of_eleven_sends_at_once_over_two_web_processes_ten_pass_and_without_redis_ten_a_process(
    new_stack: NewStack,
) -> None:
    stack = new_stack(webs=2, env={"CHAT_MESSAGES_PER_10S": "10", "CHAT_WAITING_PER_SESSION": "0"})
    ada = stack.person("ada")
    async with stack.client(ada, web=0) as client, stack.client(ada, web=1) as other:
        crowded, alone = await client.new_session(), await client.new_session()
        sends = [_send(client if n % 2 else other, crowded, n) for n in range(11)]
        assert sorted(await asyncio.gather(*sends)) == ["ok"] * 10 + ["rate_limited"]

        stack.redis.kill()
        for socket in (client, other):
            sends = [_send(socket, alone, n) for n in range(12)]
            assert sorted(await asyncio.gather(*sends)) == ["ok"] * 10 + ["rate_limited"] * 2


async def _send(client: Client, session_id: str, n: int) -> str:
    try:
        await client.say(session_id, f"Message {n}")
    except Refused as refused:
        return str(refused.code)
    return "ok"
