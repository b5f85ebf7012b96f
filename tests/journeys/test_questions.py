"""Questions to people outlive every process, are answered once and from any device, and only a yes is a yes."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.conftest import NewStack
from tests.connection import Refused, Row
from tests.deeds import Deeds
from tests.fold import Fold
from tests.stack import Stack
from tests.wire import Client, Person


def done(deeds: Deeds, session_id: str) -> list[int]:
    """What was really refunded in a session."""
    return [deed["number"] for deed in deeds.done("refund") if deed["session_id"] == session_id]


def doer(deeds: Deeds, stack: Stack, **columns: Any) -> str:
    """An agent of a test's own, which may refund and ask people."""
    tools = ["refund", "ask_human"]
    return deeds.employ(stack, name=f"doer-{uuid4().hex[:6]}", **({"tools": tools} | columns))


async def asked(client: Client, fold: Fold, run_id: str, count: int = 1) -> list[Row]:
    """Wait until a run asks people, and give its open questions."""
    await client.until(lambda: fold.status(run_id) == "interrupted", "it asks")
    questions = [row for row in fold.state()["interrupts"] if row["run_id"] == run_id]
    assert len(questions) == count, questions
    return questions


async def resolve(client: Client, question: Row, **answer: Any) -> None:
    told = await client.command("interrupt.resolve", interrupt_id=question["interrupt_id"], answer=answer)
    assert told == {"interrupt_id": question["interrupt_id"], "run_id": question["run_id"]}


async def said(client: Client, session_id: str, run_id: str) -> str:
    """What a run answered in the end."""
    [row] = await client.ended(session_id, run_id)
    assert row["status"] == "succeeded", row["error"]
    answer = client.folds[session_id].answer(run_id)
    assert answer is not None
    return str(answer["content"])


async def test_only_what_is_approved_is_done_and_as_it_was_approved(stack: Stack, ada: Person, deeds: Deeds) -> None:
    async with stack.client(ada, web=0) as client:
        session_id = await client.new_session(agent=doer(deeds, stack))
        fold = await client.subscribe(session_id)

        approved = await client.say(session_id, "Please refund 7")
        [question] = await asked(client, fold, approved)
        assert (question["reason"], question["payload"]["tool"], question["payload"]["args"]) == (
            "approval",
            "refund",
            {"number": 7},
        )
        assert fold.session["status"] == "interrupted" and not done(deeds, session_id)
        await resolve(client, question, approved=True)
        assert "refund 7" in await said(client, session_id, approved)
        assert done(deeds, session_id) == [7]

        refused = await client.say(session_id, "Please refund 8")
        [question] = await asked(client, fold, refused)
        await resolve(client, question, approved=False, reason="Too much")
        assert "Too much" in await said(client, session_id, refused)

        edited = await client.say(session_id, "Please refund 9")
        [question] = await asked(client, fold, edited)
        for wrong in ({"number": "10"}, {}, {"number": 10, "to": "me"}):
            with pytest.raises(Refused, match="invalid_input"):
                await resolve(client, question, approved=True, args=wrong)
        await resolve(client, question, approved=True, args={"number": 10})
        assert "refund 10" in await said(client, session_id, edited)

        assert done(deeds, session_id) == [7, 10]
        await client.agrees()


async def test_several_questions_of_a_run_are_answered_each_by_whoever_is_first(
    stack: Stack, ada: Person, ben: Person, deeds: Deeds
) -> None:
    async with stack.client(ada, web=0) as client, stack.client(ben, web=1) as other:
        session_id = await client.new_session(agent=doer(deeds, stack))
        await client.post(f"/api/sessions/{session_id}/members/", {"username": ben.username})
        fold = await client.subscribe(session_id)
        await other.subscribe(session_id)
        run_id = await client.say(session_id, "Please refund 1, 2, 3 and 4")
        questions = await asked(client, fold, run_id, 4)
        inbox = (await other.get("/api/interrupts/"))["results"]
        assert [row["interrupt_id"] for row in reversed(inbox)] == [row["interrupt_id"] for row in questions]
        told = await asyncio.gather(
            *(resolve(client, question, approved=True) for question in questions),
            *(resolve(other, question, approved=False) for question in questions),
            return_exceptions=True,
        )
        ours, theirs = told[:4], told[4:]
        for mine, his in zip(ours, theirs, strict=True):
            [problem] = [answer for answer in (mine, his) if answer is not None]
            assert isinstance(problem, Refused) and problem.code == "already_resolved"
        await said(client, session_id, run_id)
        assert done(deeds, session_id) == [number for number, mine in enumerate(ours, 1) if mine is None]
        await other.ended(session_id, run_id)
        for one in (client, other):
            await one.agrees()


async def test_a_second_and_a_third_question_of_a_run_work_like_the_first(
    stack: Stack, ada: Person, deeds: Deeds
) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session(agent=doer(deeds, stack, llm="openai:rounds-3"))
        fold = await client.subscribe(session_id)
        run_id = await client.say(session_id, "Refund them one by one, please")
        for number, approved in ((1, True), (2, False), (3, True)):
            await client.until(lambda n=number: len(fold.interrupts) == n, f"question {number}")  # type: ignore[misc]
            [question] = await asked(client, fold, run_id)
            assert (question["payload"]["args"], fold.runs[run_id]["attempt"]) == ({"number": number}, number)
            await resolve(client, question, approved=approved)
        answer = await said(client, session_id, run_id)
        assert "refund 1" in answer and "refused" in answer and "refund 3" in answer
        assert done(deeds, session_id) == [1, 3]
        await client.agrees()


async def test_an_agent_asks_what_only_people_know(stack: Stack, ada: Person, deeds: Deeds) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session(agent=doer(deeds, stack))
        fold = await client.subscribe(session_id)
        run_id = await client.say(session_id, 'Ask a human "Which order?"')
        [question] = await asked(client, fold, run_id)
        assert (question["reason"], question["prompt"]) == ("question", "Which order?")
        await resolve(client, question, text="The blue one")
        assert "The blue one" in await said(client, session_id, run_id)
        await client.agrees()


async def test_what_nobody_answers_counts_as_refused_and_can_be_asked_again(
    stack: Stack, ada: Person, deeds: Deeds
) -> None:
    async with stack.client(ada) as client:
        agent = doer(deeds, stack, interrupt_expires_s=1)
        session_id = await client.new_session(agent=agent)
        fold = await client.subscribe(session_id)
        run_id = await client.say(session_id, "Please refund 7")
        [question] = await asked(client, fold, run_id)
        assert "Nobody answered" in await said(client, session_id, run_id)
        with pytest.raises(Refused, match="expired"):
            await resolve(client, question, approved=True)
        [notice] = [row for row in fold.messages.values() if row["kind"] == "notice"]
        assert notice["data"]["interrupt_ids"] == [question["interrupt_id"]]
        assert not done(deeds, session_id)
        stack.ask("Agent.objects.filter(name=name).update(interrupt_expires_s=1800)", name=agent)
        again = await client.say(session_id, **notice["data"]["ask_again"])
        [question] = await asked(client, fold, again)
        await resolve(client, question, approved=True)
        assert "refund 7" in await said(client, session_id, again)
        assert done(deeds, session_id) == [7]
        await client.agrees()


def restart_everything(stack: Stack) -> None:
    """Kill each process of a server as a power cut would, and start them all again."""
    for part in stack.parts:
        if part.alive:
            part.kill()
    stack.start()


async def test_a_question_outlives_every_process_and_is_answered_from_another_device(
    new_stack: NewStack, deeds: Deeds
) -> None:
    stack = new_stack(webs=2, env=deeds.env)
    ada, ben = stack.person("ada"), stack.person("ben")
    async with stack.client(ada, web=0) as desk:
        session_id = await desk.new_session(agent=doer(deeds, stack))
        await desk.post(f"/api/sessions/{session_id}/members/", {"username": ben.username})
        fold = await desk.subscribe(session_id)
        run_id = await desk.say(session_id, "Please refund 7")
        [question] = await asked(desk, fold, run_id)
        behind = await desk.say(session_id, "And now?")
        await desk.agrees()
        last_seq = fold.last_seq

    restart_everything(stack)
    async with stack.client(ada, web=1) as phone, stack.client(ben, web=0) as other:
        [open_one] = (await phone.get("/api/interrupts/"))["results"]
        assert open_one == question
        page = await phone.open_page(session_id)
        await other.open_page(session_id)
        assert page.session["status"] == "interrupted" and page.last_seq == last_seq
        path = f"/api/interrupts/{question['interrupt_id']}/resolve/"
        stack.add_web(CHAT_FAILPOINTS="resolve.committed=exit")
        async with stack.client(ben, web=2) as unlucky:
            with pytest.raises(httpx2.TransportError):  # answered, and it dies before it could say so
                await unlucky.post(path, {"answer": {"approved": True}})
        for one in (phone, other):
            with pytest.raises(Refused, match="already_resolved"):
                await one.post(path, {"answer": {"approved": False}})
        assert "refund 7" in await said(phone, session_id, run_id)
        assert (await phone.ended(session_id, behind))[0]["status"] == "succeeded"
        assert done(deeds, session_id) == [7]
        await other.ended(session_id, run_id, behind)
        for one in (phone, other):
            await one.agrees()
    await desk.connect()
    await desk.ended(session_id, run_id, behind)
    await desk.agrees()
    await desk.close()
