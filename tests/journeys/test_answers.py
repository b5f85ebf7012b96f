"""A message is answered, live and once, and everybody who watches sees the same."""

import asyncio

import pytest

from tests.conftest import LONG, STEADY, SWIFT
from tests.stack import Stack
from tests.wire import Person, Refused


def numbered(tokens: int) -> str:
    """What the demo LLM says when it is told how many tokens to say."""
    return " ".join(f"w{number}" for number in range(1, tokens + 1))


async def test_a_message_is_answered_live_and_folds_to_the_page(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session(title="First")
        fold = await client.subscribe(session_id)
        run_id = await client.say(session_id, "Count, please", llm=STEADY)
        await client.shown(session_id, run_id)
        await client.agrees()
        [answer] = await client.answered(session_id, run_id)
        assert answer["content"] == numbered(40)
        assert answer["role"] == "assistant" and answer["author"]["kind"] == "agent" and answer["kind"] == "text"
        await client.agrees()
        kinds = [frame["type"] for frame in client.log(session_id) if frame["run_id"] == run_id]
        assert [kind for kind in kinds if kind.startswith("run.")] == ["run.queued", "run.started", "run.succeeded"]
        deltas = [frame["data"] for _, frame in client.received if frame["type"] == "message.delta"]
        assert len(deltas) >= 10, "it was not shown token by token"
        assert numbered(40).startswith("".join(delta["text"] for delta in deltas))
        assert fold.runs[run_id]["usage"]["output_tokens"] == 40
        assert fold.session["status"] == "waiting"


async def test_two_clients_on_two_web_processes_see_the_same_frames(stack: Stack, ada: Person, ben: Person) -> None:
    async with stack.client(ada, web=0) as one, stack.client(ben, web=1) as other:
        session_id = await one.new_session()
        await one.post(f"/api/sessions/{session_id}/members/", {"username": ben.username, "role": "member"})
        await one.subscribe(session_id)
        await other.subscribe(session_id)
        runs = [await one.say(session_id, "Of Ada", llm=SWIFT), await other.say(session_id, "Of Ben", llm=STEADY)]
        for client in (one, other):
            answers = await client.answered(session_id, *runs)
            assert [answer["content"] for answer in answers] == [numbered(5), numbered(40)]
            await client.agrees()
        strip = {"my_role": None}
        logs = [
            [frame | {"data": frame["data"] | strip} for frame in client.log(session_id)] for client in (one, other)
        ]
        assert logs[0] == logs[1]


async def test_the_events_of_http_are_the_frames_of_the_socket(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        await client.answered(session_id, await client.say(session_id, "Hello", llm=SWIFT))
        await client.agrees()
        told = await client.get(f"/api/sessions/{session_id}/events/", after=0, limit=200)
        assert told["results"] == client.log(session_id)
        assert told["last_seq"] == client.folds[session_id].last_seq
        later = await client.get(f"/api/sessions/{session_id}/events/", after=3)
        assert [frame["seq"] for frame in later["results"]] == list(range(4, told["last_seq"] + 1))


async def test_a_client_that_comes_back_at_every_token_reads_the_same_text(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as stayer, stack.client(ada, web=(0, 1)) as wanderer:
        session_id = await stayer.new_session()
        await stayer.subscribe(session_id)
        fold = await wanderer.subscribe(session_id)
        run_id = await stayer.say(session_id, "Count", llm=STEADY)
        returns = 0
        while not fold.answer(run_id):
            shown = len(fold.draft(run_id))
            await wanderer.until(lambda: fold.answer(run_id) or len(fold.draft(run_id)) > shown, "more is shown")  # noqa: B023
            assert numbered(40).startswith(fold.draft(run_id))
            returns += 1
            await wanderer.reconnect(web=returns % 2)
        await wanderer.answered(session_id, run_id)
        await stayer.answered(session_id, run_id)
        assert returns >= 20
        assert wanderer.log(session_id) == stayer.log(session_id)
        await wanderer.agrees()


async def test_a_page_opened_in_the_middle_of_an_answer_goes_on_with_it(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as first, stack.client(ada, web=1) as late:
        session_id = await first.new_session()
        await first.subscribe(session_id)
        run_id = await first.say(session_id, "Count", llm=STEADY)
        seen = await first.shown(session_id, run_id, characters=20)
        await late.open_page(session_id)
        await late.shown(session_id, run_id, characters=len(seen))
        [answer] = await late.answered(session_id, run_id)
        assert answer["content"] == numbered(40)
        await late.agrees()


async def test_twenty_sends_at_once_give_twenty_answers_one_at_a_time_in_order(stack: Stack, ada: Person) -> None:
    async with stack.client(ada, web=0) as one, stack.client(ada, web=1) as other:
        session_id = await one.new_session()
        fold = await one.subscribe(session_id)
        sends = [(one, other)[n % 2].say(session_id, f"Message {n}", llm=SWIFT) for n in range(20)]
        runs = await asyncio.gather(*sends)
        assert len(set(runs)) == 20
        answers = await one.answered(session_id, *runs, within_s=60)
        assert [answer["content"] for answer in answers] == [numbered(5)] * 20
        verbs = ("run.queued", "run.started", "run.succeeded")
        queued, started, ended = (
            [frame["run_id"] for frame in one.log(session_id) if frame["type"] == verb] for verb in verbs
        )
        assert queued == started == ended, "the answers are not in the order of the messages"
        assert len(fold.answers()) == 20
        await one.agrees()


async def test_the_same_key_ten_times_makes_one_message_and_one_run(stack: Stack, ada: Person) -> None:
    async with stack.client(ada, web=0) as one, stack.client(ada, web=1) as other:
        session_id = await one.new_session()
        fold = await one.subscribe(session_id)
        same = {"session_id": session_id, "content": "Once", "key": "k-1", "llm": SWIFT}
        sent = await asyncio.gather(*[(one, other)[n % 2].command("message.send", **same) for n in range(9)])
        over_http = await one.post(
            f"/api/sessions/{session_id}/messages/", {"content": "Once", "key": "k-1", "llm": SWIFT}
        )
        sent.append(over_http)
        assert len({(ok["message_id"], ok["run_id"]) for ok in sent}) == 1
        assert sorted(ok["duplicate"] for ok in sent) == [False] + [True] * 9
        await one.answered(session_id, sent[0]["run_id"])
        assert [row["key"] for row in fold.messages.values()] == ["k-1", None]
        with pytest.raises(Refused) as refused:
            await one.command("message.send", session_id=session_id, content="Twice", key="k-1")
        assert refused.value.code == "conflict"
        await one.agrees()


async def test_a_key_is_shown_to_its_author_alone(stack: Stack, ada: Person, ben: Person) -> None:
    async with stack.client(ada) as owner, stack.client(ben) as member:
        session_id = await owner.new_session()
        await owner.post(f"/api/sessions/{session_id}/members/", {"username": ben.username})
        await owner.subscribe(session_id)
        await member.subscribe(session_id)
        run_id = await owner.say(session_id, "Hello", llm=SWIFT, key="mine")
        for client, key in ((owner, "mine"), (member, None)):
            await client.answered(session_id, run_id)
            assert [row["key"] for row in client.folds[session_id].messages.values()] == [key, None]
            await client.agrees()


async def test_a_busy_session_refuses_a_message_that_asks_for_that(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        run_id = await client.say(session_id, "Long", llm=LONG)
        with pytest.raises(Refused) as refused:
            await client.say(session_id, "Now!", on_busy="reject")
        assert refused.value.code == "busy"
        await client.command("run.cancel", run_id=run_id)
        await client.answered(session_id, await client.say(session_id, "Now?", on_busy="reject", llm=SWIFT))
        await client.agrees()


async def test_a_waiting_message_can_be_changed_until_its_answer_begins(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        fold = await client.subscribe(session_id)
        first = await client.command("message.send", session_id=session_id, content="Long", llm=LONG)
        second = await client.command("message.send", session_id=session_id, content="Frist", llm=SWIFT)
        assert await client.command("message.update", message_id=second["message_id"], content="First") == {}
        await client.shown(session_id, first["run_id"])
        with pytest.raises(Refused) as refused:
            await client.command("message.update", message_id=first["message_id"], content="Too late")
        assert refused.value.code == "conflict"
        await client.until(lambda: fold.messages[second["message_id"]]["content"] == "First", "the change is told")
        await client.agrees()
        await client.command("run.cancel", run_id=first["run_id"])
        await client.answered(session_id, second["run_id"])
        await client.agrees()


async def test_a_waiting_run_can_be_moved_before_another(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        fold = await client.subscribe(session_id)
        first = await client.say(session_id, "Long", llm=LONG)
        second, third, fourth = [await client.say(session_id, text, llm=SWIFT) for text in ("2", "3", "4")]
        moved = await client.command("run.move", run_id=fourth, before=second)
        assert moved == {"run_id": fourth, "status": "queued"}
        await client.call("PATCH", f"/api/runs/{second}/", {"before": None})
        moved_to = [first, fourth, third, second]
        in_order = lambda: [run["run_id"] for run in fold.state()["runs"]] == moved_to  # noqa: E731
        await client.until(in_order, "the new order is told")
        await client.agrees()
        await client.command("run.cancel", run_id=first)
        await client.answered(session_id, second, third, fourth)
        started = [frame["run_id"] for frame in client.log(session_id) if frame["type"] == "run.started"]
        assert started == moved_to
        await client.agrees()


async def test_a_request_can_wait_for_its_answer(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        path = f"/api/sessions/{session_id}/messages/"
        asked = await client.http.post(path, json={"content": "Quick", "llm": SWIFT}, params={"wait": 20})
        assert asked.status_code == 200, asked.text
        answer = asked.json()
        assert answer["run"]["status"] == "succeeded" and answer["run"]["run_id"] == answer["run_id"]
        assert answer["reply"]["content"] == numbered(5)
        asked = await client.http.post(path, json={"content": "Slow", "llm": LONG}, params={"wait": 1})
        assert asked.status_code == 202, asked.text
        assert asked.json().keys() == {"message_id", "run_id", "duplicate"}
        await client.command("run.cancel", run_id=asked.json()["run_id"])
        await client.agrees()


async def test_nothing_is_missed_in_any_gap_of_a_subscribe(stack: Stack, ada: Person) -> None:
    """Each step of it is drawn out, so that several tokens and facts arrive between every two of them."""
    steps = ("hub.subscribed", "hub.read", "hub.drafts", "hub.join.read", "hub.join.page")
    slow = stack.add_web(CHAT_FAILPOINTS=",".join(f"{step}=sleep:0.12" for step in steps))
    try:
        async with stack.client(ada) as stayer, stack.client(ada, web=stack.webs.index(slow)) as wanderer:
            session_id = await stayer.new_session()
            await stayer.subscribe(session_id)
            fold = await wanderer.subscribe(session_id)
            runs = [
                await stayer.say(session_id, f"Number {n}", llm=llm) for n, llm in enumerate([STEADY, SWIFT, STEADY])
            ]
            while not all(fold.answer(run_id) for run_id in runs):
                await wanderer.reconnect()
                seen = len(wanderer.received)
                await wanderer.until(lambda: len(wanderer.received) > seen + 2, "more comes")  # noqa: B023
            for client in (stayer, wanderer):
                answers = await client.answered(session_id, *runs)
                assert [answer["content"] for answer in answers] == [numbered(40), numbered(5), numbered(40)]
                await client.agrees()
            assert wanderer.log(session_id) == stayer.log(session_id)
    finally:
        stack.webs.remove(slow)
        slow.end()
