"""Waiting for the answer to what joined another run."""

import asyncio
from uuid import UUID

import pytest

from chat.models import Message
from tests.api.conftest import Caller, WorkerOfATest


async def _until_joined(session_id: str) -> None:
    while not await Message.objects.filter(session=UUID(session_id), joined=True).aexists():
        await asyncio.sleep(0.01)


@pytest.mark.postgres
async def test_who_joined_a_run_that_ended_without_reading_it_gets_the_answer_of_the_next_one(
    ada: Caller, ben: Caller, worker: WorkerOfATest
) -> None:
    session_id = await ada.new_session()
    path = f"/api/sessions/{session_id}/messages/?wait=20"
    await ada.let_in(session_id, ben)
    await ada.say(session_id, "Where is it?")
    adas = await worker.start(session_id)
    body = {"content": "And when?", "key": "k", "on_busy": "join"}
    asked = asyncio.create_task(ben.post(path, body))
    await _until_joined(session_id)
    again = asyncio.create_task(ben.post(path, body))
    await worker.finish(adas, "On the shelf.")
    await worker.answer(session_id, "At noon.")
    got = await asked
    assert (got["reply"]["content"], got["run_id"]) == ("At noon.", str(adas.pk))
    assert got["run"]["run_id"] == got["reply"]["run_id"] != got["run_id"]
    assert await again == got | {"duplicate": True}
    assert await ben.post(path, body) == got | {"duplicate": True}, "it is over by now"
    shown = await ada.get(f"/api/sessions/{session_id}/messages/")
    assert str(adas.pk) not in str([row["data"] for row in shown["results"]]), "nobody is shown what it is known by"


async def test_who_joined_a_run_that_read_it_gets_its_answer(ada: Caller, worker: WorkerOfATest) -> None:
    session_id = await ada.new_session()
    path = f"/api/sessions/{session_id}/messages/?wait=20"
    await ada.say(session_id, "Where is it?")
    asked = asyncio.create_task(ada.post(path, {"content": "And when?", "on_busy": "join"}))
    await _until_joined(session_id)
    await worker.answer(session_id, "On the shelf, at noon.")
    got = await asked
    assert (got["reply"]["content"], got["run"]["run_id"]) == ("On the shelf, at noon.", got["run_id"])
