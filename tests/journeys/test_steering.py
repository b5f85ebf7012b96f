"""Typing while an answer is in progress: the five ways, and the queue, as two devices of one person see them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.conftest import LONG, STEADY, SWIFT
from tests.deeds import Deeds
from tests.fold import Row
from tests.journeys.test_answers import numbered
from tests.journeys.test_questions import asked, doer, done, resolve, said
from tests.stack import Stack
from tests.wire import Client, Person, Refused


@asynccontextmanager
async def two_devices(stack: Stack, person: Person, **session: Any) -> AsyncIterator[tuple[Client, Client, str]]:
    """A phone and a desk of one person, each at a web process of its own, in a session where a long answer runs."""
    async with stack.client(person, web=0) as phone, stack.client(person, web=1) as desk:
        session_id = await phone.new_session(**session)
        for one in (phone, desk):
            await one.subscribe(session_id)
        yield phone, desk, session_id
        for one in (phone, desk):
            await one.agrees()


async def begun(client: Client, session_id: str, content: str = "Count", llm: str = LONG) -> str:
    """Ask something long, and wait until some of the answer is shown."""
    run_id = await client.say(session_id, content, llm=llm)
    await client.shown(session_id, run_id, characters=10)
    return run_id


def questions(client: Client, session_id: str) -> list[Row]:
    return [row for row in client.folds[session_id].messages.values() if row["role"] == "user"]


async def test_an_answer_is_interrupted_from_another_device(stack: Stack, ada: Person) -> None:
    async with two_devices(stack, ada) as (phone, desk, session_id):
        run_id = await begun(phone, session_id)
        waiting = await phone.say(session_id, "Next", llm=SWIFT)
        now = await desk.say(session_id, "Stop, say five", llm=SWIFT, on_busy="interrupt")
        for one in (phone, desk):
            answers = await one.answered(session_id, now, waiting)
            assert [row["content"] for row in answers] == [numbered(5)] * 2
            fold = one.folds[session_id]
            [partial] = [row for row in fold.answers() if row["run_id"] == run_id]
            assert partial["data"]["interrupted"] and numbered(600).startswith(partial["content"])
            order = [row["run_id"] for row in fold.answers()]
            assert order == [run_id, now, waiting], "it takes the first place, and the other one keeps its own"
            types = [frame["type"] for _, frame in one.received if frame["run_id"] == run_id]
            assert types[-1] == "run.cancelled"


async def test_a_rollback_leaves_nothing_of_the_question_and_the_answer(stack: Stack, ada: Person) -> None:
    async with two_devices(stack, ada) as (phone, desk, session_id):
        await begun(phone, session_id, "Cuont")
        now = await desk.say(session_id, "Count", llm=SWIFT, on_busy="rollback")
        for one in (phone, desk):
            await one.answered(session_id, now)
            messages = one.folds[session_id].messages.values()
            assert [row["content"] for row in messages] == ["Count", numbered(5)]
        rows = (await desk.get(f"/api/sessions/{session_id}/messages/"))["results"]
        assert [row["content"] for row in rows] == [numbered(5), "Count"]


async def test_what_joins_an_answer_too_late_is_answered_after_it(stack: Stack, ada: Person) -> None:
    async with two_devices(stack, ada, on_busy="join") as (phone, desk, session_id):
        run_id = await begun(phone, session_id, llm=STEADY)
        for text in ("Faster", "And louder"):
            assert await desk.say(session_id, text) == run_id
        await phone.command("run.cancel", run_id=run_id)
        for one in (phone, desk):
            new = await one.until(lambda one=one: questions(one, session_id)[1]["run_id"], "the first starts a run")
            await one.ended(session_id, new)
            _, late, later = questions(one, session_id)
            assert one.folds[session_id].runs[new]["question_id"] == late["message_id"]
            assert later["data"]["joined"] == {"run_id": new, "read": True}


async def test_a_busy_session_may_refuse_and_a_message_may_wait_all_the_same(stack: Stack, ada: Person) -> None:
    async with two_devices(stack, ada, on_busy="reject") as (phone, desk, session_id):
        run_id = await begun(phone, session_id)
        with pytest.raises(Refused, match="busy"):
            await desk.say(session_id, "Now?")
        waiting = await desk.say(session_id, "Later", llm=SWIFT, on_busy="queue")
        changed = await desk.patch(f"/api/sessions/{session_id}/", {"on_busy": "queue"})
        assert changed["on_busy"] == "queue"
        await phone.until(lambda: phone.folds[session_id].session["on_busy"] == "queue", "the other device is told")
        await phone.command("run.cancel", run_id=run_id)
        await desk.answered(session_id, waiting)


async def test_the_queue_is_edited_on_one_device_and_seen_on_the_other(stack: Stack, ada: Person) -> None:
    async with two_devices(stack, ada) as (phone, desk, session_id):
        run_id = await begun(phone, session_id)
        path = f"/api/sessions/{session_id}"
        said = {}
        for name in ("a", "b", "c", "d"):
            said[name] = await phone.command("message.send", session_id=session_id, content=name, llm=SWIFT)
        by_run = {row["run_id"]: name for name, row in said.items()}

        def waits(client: Client) -> list[tuple[str, str]]:
            """The queue as a device shows it: each run with what it is to answer."""
            fold = client.folds[session_id]
            runs = [run for run in fold.state()["runs"] if run["status"] == "queued"]
            return [(by_run[run["run_id"]], fold.messages[run["question_id"]]["content"]) for run in runs]

        async def both_see(*expected: tuple[str, str]) -> None:
            for one in (phone, desk):
                await one.until(lambda one=one: waits(one) == list(expected), f"the queue is {expected}", 10)

        await both_see(*((name, name) for name in "abcd"))
        # Over the socket of one device, over HTTP from the other: moved, edited, withdrawn.
        await phone.command("run.move", run_id=said["d"]["run_id"], before=said["a"]["run_id"])
        await both_see(("d", "d"), ("a", "a"), ("b", "b"), ("c", "c"))
        await desk.patch(f"/api/runs/{said['b']['run_id']}/", {"before": None})
        await phone.command("message.update", message_id=said["a"]["message_id"], content="a!")
        await desk.patch(f"/api/messages/{said['c']['message_id']}/", {"content": "c!"})
        await both_see(("d", "d"), ("a", "a!"), ("c", "c!"), ("b", "b"))
        await phone.command("run.cancel", run_id=said["d"]["run_id"])
        await desk.post(f"/api/runs/{said['b']['run_id']}/cancel/")
        await both_see(("a", "a!"), ("c", "c!"))
        listed = (await desk.get(f"{path}/runs/?status=queued"))["results"]
        assert [row["question_id"] for row in listed] == [said["c"]["message_id"], said["a"]["message_id"]]
        for one in (phone, desk):
            withdrawn = [row["content"] for row in questions(one, session_id) if "withdrawn" in row["data"]]
            assert sorted(withdrawn) == ["b", "d"]
            await one.agrees()
        # What is left is answered in its new order, and a third device that comes late sees the same.
        await phone.command("run.cancel", run_id=run_id)
        await desk.answered(session_id, said["a"]["run_id"], said["c"]["run_id"])
        async with stack.client(ada, web=0) as late:
            await late.subscribe(session_id)
            await late.agrees()


async def test_ten_interruptions_at_once_leave_one_answer(stack: Stack, ada: Person, ben: Person) -> None:
    async with two_devices(stack, ada) as (phone, desk, session_id):
        first = await begun(phone, session_id)
        posted = await asyncio.gather(
            *(
                (phone, desk)[number % 2].say(session_id, f"Take {number}", llm=SWIFT, on_busy="interrupt")
                for number in range(10)
            )
        )
        rows = await phone.ended(session_id, first, *posted)
        statuses = [row["status"] for row in rows]
        assert statuses[0] == "cancelled" and "succeeded" in statuses
        assert len({row["position"] for row in rows if row["status"] == "cancelled"}) <= len(rows)
        for run_id, status in zip(posted, statuses[1:], strict=True):
            said = [row for row in phone.folds[session_id].answers() if row["run_id"] == run_id]
            assert len(said) <= 1
            assert status == "cancelled" or said[0]["content"] == numbered(5)


async def test_what_joins_a_question_to_people_is_read_with_their_answer(
    stack: Stack, ada: Person, deeds: Deeds
) -> None:
    async with two_devices(stack, ada, agent=doer(deeds, stack)) as (phone, desk, session_id):
        run_id = await phone.say(session_id, "Please refund 7")
        [question] = await asked(phone, phone.folds[session_id], run_id)
        assert await desk.say(session_id, "And tell Mia", on_busy="join") == run_id
        await resolve(desk, question, approved=True)
        await said(phone, session_id, run_id)
        assert done(deeds, session_id) == [7]
        for one in (phone, desk):
            await one.ended(session_id, run_id)
            [_, joined] = questions(one, session_id)
            assert joined["data"]["joined"] == {"run_id": run_id, "read": True} and joined["run_id"] is None


@pytest.mark.parametrize("way", ["interrupt", "rollback"])
async def test_whoever_makes_way_asks_nobody_any_more(stack: Stack, ada: Person, deeds: Deeds, way: str) -> None:
    async with two_devices(stack, ada, agent=doer(deeds, stack)) as (phone, desk, session_id):
        run_id = await phone.say(session_id, "Please refund 7")
        [question] = await asked(phone, phone.folds[session_id], run_id)
        now = await desk.say(session_id, "Hello", on_busy=way)
        for one in (phone, desk):
            await one.answered(session_id, now)
            state = one.folds[session_id].state()
            assert (state["interrupts"], state["status"]) == ([], "waiting")
            shown = [row["role"] for row in state["messages"]]
            kept = ["user", "assistant", "tool"] if way == "interrupt" else []
            assert shown == [*kept, "user", "assistant"]
        with pytest.raises(Refused, match="already_resolved"):
            await resolve(phone, question, approved=True)
        assert done(deeds, session_id) == []
