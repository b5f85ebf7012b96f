"""Questions to people, over HTTP: the list of what is asked, and answering, by whoever may."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from chat import metrics
from chat.actions import interrupts
from chat.actions.questions import Question
from chat.api.metrics import _ask_table
from chat.database import reading, writing
from chat.models import Agent, Interrupt, Message, Run, User
from tests.api.conftest import Caller, Row, WorkerOfATest
from tests.fold import ROW_KEYS

INBOX = "/api/interrupts/"
REFUND = Question(
    "approval",
    "Refund order 7?",
    {"tool": "refund", "args": {"order_id": 7}, "args_schema": {"properties": {"order_id": {"type": "integer"}}}},
)
WHICH = Question("question", "Which order?")
COLOUR = Question("choice", "Red or blue?", {"choices": ["red", "blue"]})


async def asks(
    who: Caller, worker: WorkerOfATest, *questions: Question, session_id: str | None = None
) -> tuple[str, list[str]]:
    """Have a run of a session ask people; gives the session and the questions' ids."""
    session_id = session_id or await who.new_session()
    await who.say(session_id, "Refund my order")
    run = await worker.ask(await worker.start(session_id), *(questions or (REFUND,)))
    ids = Interrupt.objects.open().filter(run_id=run.pk).in_order().values_list("pk", flat=True)
    return session_id, [str(pk) async for pk in ids]


async def inbox(who: Caller, query: str = "") -> list[str]:
    return [row["interrupt_id"] for row in (await who.get(INBOX + query))["results"]]


def resolve_path(interrupt_id: str) -> str:
    return f"{INBOX}{interrupt_id}/resolve/"


# --- the list ---------------------------------------------------------------------------------------------------------


async def test_what_is_open_in_all_my_sessions_is_listed_newest_first(
    ada: Caller, ben: Caller, eve: Caller, worker: WorkerOfATest
) -> None:
    assert await ada.get(INBOX) == {"results": [], "next": None, "previous": None}
    first, [one] = await asks(ada, worker)
    await ada.let_in(first, ben)
    _, [two, three] = await asks(ada, worker, WHICH, COLOUR)
    assert await inbox(ada) == await inbox(ada, "?status=open") == [three, two, one]
    assert await inbox(ben) == [one], "of the sessions that he is in"
    assert await inbox(eve) == []
    [row] = (await ben.get(INBOX))["results"]
    assert set(row) == set(ROW_KEYS["interrupt"])
    assert (row["reason"], row["prompt"], row["status"], row["payload"]) == (
        "approval",
        "Refund order 7?",
        "open",
        REFUND.payload,
    )


async def test_the_list_comes_in_pages_and_by_status(ada: Caller, worker: WorkerOfATest) -> None:
    _, [one, two, three] = await asks(ada, worker, REFUND, WHICH, COLOUR)
    page = await ada.get(f"{INBOX}?limit=2")
    assert [row["interrupt_id"] for row in page["results"]] == [three, two]
    rest = await ada.get(page["next"])
    assert [row["interrupt_id"] for row in rest["results"]] == [one] and rest["next"] is None
    await ada.post(resolve_path(two), {"answer": {"text": "7"}})
    assert await inbox(ada) == [three, one]
    assert await inbox(ada, "?status=resolved") == [two]
    assert await inbox(ada, "?status=withdrawn") == await inbox(ada, "?status=expired") == []
    for wrong in ("?status=ajar", "?status=", "?open=1", "?limit=0"):
        assert await ada.refused("GET", INBOX + wrong) == (400, "invalid_input")


async def test_a_session_shows_what_it_asks_until_that_is_settled(ada: Caller, worker: WorkerOfATest) -> None:
    session_id, [one, two] = await asks(ada, worker, WHICH, COLOUR)
    shown = await ada.get(f"/api/sessions/{session_id}/")
    assert [row["interrupt_id"] for row in shown["interrupts"]] == [one, two]
    assert (shown["status"], shown["runs"][0]["status"]) == ("interrupted", "interrupted")
    await ada.post(resolve_path(one), {"answer": {"text": "7"}})
    assert [row["interrupt_id"] for row in (await ada.get(f"/api/sessions/{session_id}/"))["interrupts"]] == [two]
    assert [row["status"] for row in (await ada.get("/api/sessions/?status=interrupted"))["results"]] == ["interrupted"]
    await ada.post(resolve_path(two), {"answer": {"choice": "red"}})
    shown = await ada.get(f"/api/sessions/{session_id}/")
    assert (shown["status"], shown["interrupts"], shown["runs"][0]["status"]) == ("active", [], "queued")


# --- answering --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (REFUND, {"approved": True}),
        (REFUND, {"approved": True, "args": {"order_id": 8}}),
        (REFUND, {"approved": False, "reason": "no"}),
        (WHICH, {"text": "7"}),
        (COLOUR, {"choice": "red"}),
    ],
)
async def test_the_first_answer_counts_and_the_run_goes_on(
    question: Question, answer: Row, ada: Caller, ben: Caller, worker: WorkerOfATest
) -> None:
    session_id, [asked] = await asks(ada, worker, question)
    await ada.let_in(session_id, ben)
    run_id = (await ada.get(f"/api/sessions/{session_id}/"))["runs"][0]["run_id"]
    assert await ben.post(resolve_path(asked), {"answer": answer}) == {"interrupt_id": asked, "run_id": run_id}
    for caller in (ada, ben):
        assert await caller.refused("POST", resolve_path(asked), {"answer": answer}) == (409, "already_resolved")
    [row] = (await ada.get(f"{INBOX}?status=resolved"))["results"]
    assert (row["answer"], row["resolved_by"]) == (answer, ben.id)
    assert (await worker.answer(session_id)).attempt == 2


@pytest.mark.postgres
async def test_of_two_people_who_answer_at_once_one_is_told_that_the_other_was_faster(
    ada: Caller, ben: Caller, worker: WorkerOfATest
) -> None:
    session_id, [asked] = await asks(ada, worker)
    await ada.let_in(session_id, ben)
    yes, no = {"answer": {"approved": True}}, {"answer": {"approved": False}}
    told = await asyncio.gather(
        *(who.ask("POST", resolve_path(asked), body) for who, body in ((ada, yes), (ben, no)) * 3)
    )
    assert sorted(response.status_code for response in told) == [200] + [409] * 5
    codes = {json.loads(response.content)["error"]["code"] for response in told if response.status_code == 409}
    assert codes == {"already_resolved"}


async def test_a_viewer_sees_a_question_and_answers_none(ada: Caller, ben: Caller, worker: WorkerOfATest) -> None:
    session_id, [asked] = await asks(ada, worker)
    await ada.let_in(session_id, ben, "viewer")
    assert await inbox(ben) == [asked]
    assert await ben.refused("POST", resolve_path(asked), {"answer": {"approved": True}}) == (403, "not_allowed")
    assert await inbox(ada) == [asked]


@pytest.mark.parametrize("is_staff", [False, True])
async def test_for_eve_a_question_of_ada_does_not_exist(
    is_staff: bool, ada: Caller, eve: Caller, worker: WorkerOfATest
) -> None:
    _, [asked] = await asks(ada, worker)
    await User.objects.filter(pk=eve.id).aupdate(is_staff=is_staff, is_superuser=is_staff)
    assert await inbox(eve) == []
    assert await eve.refused("POST", resolve_path(asked), {"answer": {"approved": True}}) == (404, "not_found")
    assert await ada.refused("POST", resolve_path(str(uuid4())), {"answer": {"approved": True}}) == (404, "not_found")
    assert await inbox(ada) == [asked]


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        ({}, {"answer"}),
        (None, {"answer"}),
        ("yes", {"answer"}),
        (1, {"answer"}),
        ({"approved": "yes"}, {"answer.approved"}),
        ({"approved": "false"}, {"answer.approved"}),
        ({"approved": 1}, {"answer.approved"}),
        ({"approved": None}, {"answer.approved"}),
        ({"approved": True, "text": "x"}, {"answer.text"}),
        ({"approved": True, "args": {"order_id": "7"}}, {"answer.args.order_id"}),
        ({"approved": False, "args": {"order_id": 7}}, {"answer.args"}),
        ({"text": " "}, {"answer.text"}),
        ({"text": "yes"}, {"answer"}),
        ({"choice": "yes"}, {"answer"}),
    ],
)
async def test_an_odd_answer_to_an_approval_is_an_error_and_never_a_yes(
    answer: Any, fields: set[str], ada: Caller, worker: WorkerOfATest
) -> None:
    session_id, [asked] = await asks(ada, worker)
    response = await ada.ask("POST", resolve_path(asked), {"answer": answer})
    error = json.loads(response.content)["error"]
    assert (response.status_code, error["code"], set(error["fields"])) == (400, "invalid_input", fields)
    assert (await ada.get(f"/api/sessions/{session_id}/"))["status"] == "interrupted"


async def test_an_answer_after_its_time_has_expired_and_how_to_be_asked_again_is_told(
    ada: Caller, worker: WorkerOfATest
) -> None:
    session_id = await ada.new_session()
    await ada.say(session_id, "Refund my order")
    run = await worker.start(session_id)
    run.agent.interrupt_expires_s = -1
    await worker.ask(run, REFUND)
    [asked] = await inbox(ada)
    assert await ada.refused("POST", resolve_path(asked), {"answer": {"approved": True}}) == (409, "expired")
    assert await writing(interrupts.expire_interrupts) == 1
    assert await ada.refused("POST", resolve_path(asked), {"answer": {"approved": True}}) == (409, "expired")
    await worker.answer(session_id, "Nobody allowed it.")
    shown = await ada.get(f"/api/sessions/{session_id}/")
    [notice] = [row for row in shown["messages"] if row["kind"] == "notice"]
    assert (notice["role"], notice["data"]["interrupt_ids"]) == ("system", [asked])
    again = await ada.post(f"/api/sessions/{session_id}/messages/", notice["data"]["ask_again"], 202)
    assert (await worker.start(session_id)).pk == UUID(again["run_id"])


async def test_one_who_waits_for_a_run_that_asks_gets_no_reply(ada: Caller, worker: WorkerOfATest) -> None:
    session_id = await ada.new_session()
    path = f"/api/sessions/{session_id}/messages/"
    asked = asyncio.create_task(ada.post(f"{path}?wait=20", {"content": "hello", "key": "k"}))
    while not await Message.objects.filter(session=UUID(session_id)).aexists():
        await asyncio.sleep(0.01)
    await worker.ask(await worker.start(session_id), REFUND)
    got = await asked
    assert (got["run"]["status"], got["reply"]) == ("interrupted", None)
    again = await ada.post(f"{path}?wait=20", {"content": "hello", "key": "k"})
    assert again == got | {"duplicate": True}, "it still asks, so nobody waits"


async def test_a_question_of_an_agent_that_never_gives_up_has_no_end(ada: Caller, worker: WorkerOfATest) -> None:
    await Agent.objects.filter(pk=Agent.DEFAULT).aupdate(interrupt_expires_s=0)
    await asks(ada, worker)
    assert (await ada.get(INBOX))["results"][0]["expires_at"] is None
    await Agent.objects.filter(pk=Agent.DEFAULT).aupdate(interrupt_expires_s=1800)


async def test_a_cancelled_run_asks_no_more(ada: Caller, worker: WorkerOfATest) -> None:
    session_id, [asked] = await asks(ada, worker)
    run_id = str((await Run.objects.aget()).pk)
    assert await ada.post(f"/api/runs/{run_id}/cancel/") == {"run_id": run_id, "status": "cancelled"}
    assert await inbox(ada) == [] and await inbox(ada, "?status=withdrawn") == [asked]
    assert await ada.refused("POST", resolve_path(asked), {"answer": {"approved": True}}) == (409, "already_resolved")
    assert (await ada.get(f"/api/sessions/{session_id}/"))["interrupts"] == []


async def test_operators_see_how_many_questions_wait_and_how_they_end(ada: Caller, worker: WorkerOfATest) -> None:
    def settled() -> dict[str, float]:
        statuses = ("resolved", "expired", "withdrawn")
        return {one: metrics.INTERRUPTS.labels(one)._value.get() for one in statuses}

    before = settled()
    assert (await reading(_ask_table))["asked"] == 0
    _, [asked, _] = await asks(ada, worker, REFUND, WHICH)
    table = await reading(_ask_table)
    assert table["asked"] == 2 and 0 < table["oldest_asked"] < 60
    await ada.post(resolve_path(asked), {"answer": {"approved": False}})
    await ada.post(f"/api/runs/{(await Run.objects.aget()).pk}/cancel/")
    table = await reading(_ask_table)
    assert table["asked"] == table["oldest_asked"] == 0
    assert settled() == {**before, "resolved": before["resolved"] + 1, "withdrawn": before["withdrawn"] + 1}
