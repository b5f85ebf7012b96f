"""Runs over HTTP: looking, stopping, asking again, reordering."""

from uuid import uuid4

import pytest
from pytest_django import Settings

from chat.outbox import outbox
from tests.api.conftest import Caller, WorkerOfATest
from tests.fold import ROW_KEYS

SESSIONS = "/api/sessions/"


async def test_runs_are_listed_newest_first(ada: Caller, worker: WorkerOfATest) -> None:
    session_id = await ada.new_session()
    first = (await ada.say(session_id))["run_id"]
    await worker.answer(session_id)
    second = (await ada.say(session_id))["run_id"]
    rows = (await ada.get(f"{SESSIONS}{session_id}/runs/"))["results"]
    assert [(row["run_id"], row["status"]) for row in rows] == [(second, "queued"), (first, "succeeded")]
    assert await ada.get(f"/api/runs/{first}/") == rows[1]
    assert set(rows[0]) == set(ROW_KEYS["run"])
    assert rows[1]["usage"] == {"input_tokens": 1, "output_tokens": 2, "cost_usd": 0.0}


async def test_a_run_is_cancelled_once_and_asked_for_again(ada: Caller, ben: Caller, worker: WorkerOfATest) -> None:
    session_id = await ada.new_session()
    await ada.let_in(session_id, ben)
    run_id = (await ada.say(session_id))["run_id"]
    await worker.start(session_id)
    path = f"/api/runs/{run_id}"
    assert await ada.refused("POST", f"{path}/retry/") == (409, "conflict")
    for caller in (ben, ada):
        assert await caller.post(f"{path}/cancel/") == {"run_id": run_id, "status": "cancelled"}
    again = await ada.post(f"{path}/retry/")
    assert again["status"] == "queued"
    assert again["run_id"] != run_id
    await worker.answer(session_id)
    done = {"run_id": again["run_id"], "status": "succeeded"}
    assert await ada.post(f"/api/runs/{again['run_id']}/cancel/") == done
    assert await ada.refused("POST", f"/api/runs/{again['run_id']}/retry/") == (409, "conflict")


@pytest.mark.postgres
async def test_a_waiting_run_is_moved_before_another_or_to_the_end(ada: Caller, worker: WorkerOfATest) -> None:
    session_id = await ada.new_session()
    runs = [(await ada.say(session_id, str(index)))["run_id"] for index in range(4)]
    await worker.start(session_id)

    async def waiting() -> list[str]:
        return [row["run_id"] for row in (await ada.get(f"{SESSIONS}{session_id}/"))["runs"]]

    moved = await ada.call("PATCH", f"/api/runs/{runs[3]}/", {"before": runs[1]})
    assert (moved["run_id"], set(moved)) == (runs[3], set(ROW_KEYS["run"]))
    assert await waiting() == [runs[0], runs[3], runs[1], runs[2]]
    await ada.call("PATCH", f"/api/runs/{runs[3]}/", {"before": None})
    assert await waiting() == runs
    assert await ada.refused("PATCH", f"/api/runs/{runs[0]}/", {"before": None}) == (409, "conflict")
    assert await ada.refused("PATCH", f"/api/runs/{runs[1]}/", {"before": str(uuid4())}) == (400, "invalid_input")
    assert await ada.refused("PATCH", f"/api/runs/{runs[1]}/", {}) == (400, "invalid_input")


async def test_eve_cannot_move_a_run_before_hers_or_hers_before_it(ada: Caller, eve: Caller) -> None:
    adas, eves = await ada.new_session(), await eve.new_session()
    run_id, hers = (await ada.say(adas))["run_id"], (await eve.say(eves))["run_id"]
    assert await eve.refused("PATCH", f"/api/runs/{run_id}/", {"before": hers}) == (404, "not_found")
    assert await eve.refused("PATCH", f"/api/runs/{hers}/", {"before": run_id}) == (400, "invalid_input")
    for path in ("cancel/", "retry/"):
        assert await eve.refused("POST", f"/api/runs/{run_id}/{path}") == (404, "not_found")
    assert (await ada.get(f"/api/runs/{run_id}/"))["status"] == "queued"


async def test_a_run_that_is_none_is_not_found(ada: Caller) -> None:
    for method, path in (("GET", ""), ("POST", "cancel/"), ("POST", "retry/")):
        assert await ada.refused(method, f"/api/runs/{uuid4()}/{path}") == (404, "not_found")


async def test_to_ask_again_costs_what_a_message_costs(ada: Caller, worker: WorkerOfATest, settings: Settings) -> None:
    session_id = await ada.new_session()
    settings.CHAT_MESSAGES_PER_10S = 2
    run_id = (await ada.say(session_id))["run_id"]
    await worker.fail(await worker.start(session_id))
    again = await ada.post(f"/api/runs/{run_id}/retry/")
    # The same one again is answered, and not counted.
    settings.CHAT_MESSAGES_PER_10S = 3
    assert await ada.post(f"/api/runs/{run_id}/retry/") == again
    await outbox.flushing(10)
    settings.CHAT_MESSAGES_PER_10S = 2
    await ada.post(f"/api/runs/{again['run_id']}/cancel/")
    assert await ada.refused("POST", f"/api/runs/{run_id}/retry/") == (429, "rate_limited")


async def test_to_ask_again_waits_for_its_place_as_a_message_does(
    ada: Caller, worker: WorkerOfATest, settings: Settings
) -> None:
    settings.CHAT_MESSAGES_PER_10S = 0
    settings.CHAT_WAITING_PER_SESSION = 2
    session_id = await ada.new_session()
    run_id = (await ada.say(session_id))["run_id"]
    await worker.fail(await worker.start(session_id))
    for _ in range(2):
        await ada.say(session_id)
    assert await ada.refused("POST", f"/api/runs/{run_id}/retry/") == (429, "too_many_waiting")


async def test_the_queue_is_listed_with_what_each_run_answers(ada: Caller, worker: WorkerOfATest) -> None:
    session_id = await ada.new_session()
    said = [await ada.say(session_id, str(index)) for index in range(3)]
    await worker.start(session_id)
    path = f"{SESSIONS}{session_id}/runs/"
    waiting = (await ada.get(f"{path}?status=queued"))["results"]
    assert [row["question_id"] for row in reversed(waiting)] == [one["message_id"] for one in said[1:]]
    [running] = (await ada.get(f"{path}?status=running"))["results"]
    assert running["question_id"] == said[0]["message_id"] != running["message_id"]
    assert await ada.refused("GET", f"{path}?status=busy") == (400, "invalid_input")
