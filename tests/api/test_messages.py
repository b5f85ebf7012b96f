"""Saying something over HTTP: the key, the limits, and waiting for the answer."""

import asyncio
import importlib
import threading
import time
from typing import Any
from uuid import UUID

import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import OperationalError
from pytest_django import Settings
from rest_framework_simplejwt.tokens import AccessToken

from chat.hub import hubs
from chat.models import Message
from tests.api.conftest import Caller, Row, WorkerOfATest
from tests.fold import ROW_KEYS
from tests.servers import Redis

SESSIONS = "/api/sessions/"


@pytest.fixture
async def session_id(ada: Caller) -> str:
    return await ada.new_session()


@pytest.fixture
def path(session_id: str) -> str:
    return f"{SESSIONS}{session_id}/messages/"


async def test_a_message_is_taken_and_queues_a_run(ada: Caller, session_id: str, path: str) -> None:
    said = await ada.post(path, {"content": "hello", "context": {"page": "/x"}}, 202)
    assert set(said) == {"message_id", "run_id", "duplicate"}
    assert said["duplicate"] is False
    (row,) = (await ada.get(path))["results"]
    assert set(row) == set(ROW_KEYS["message"])
    assert (row["message_id"], row["run_id"], row["content"]) == (said["message_id"], said["run_id"], "hello")
    assert (await ada.get(f"/api/runs/{said['run_id']}/"))["status"] == "queued"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"content": ""},
        {"content": " \n"},
        {"content": None},
        {"content": 5},
        {"content": "x" * 10_001},
        {"content": "hi", "key": ""},
        {"content": "hi", "key": "x" * 129},
        {"content": "hi", "agent": "nobody"},
        {"content": "hi", "llm": "openai:too-dear"},
        {"content": "hi", "on_busy": "explode"},
        {"content": "hi", "parent_id": "00000000-0000-0000-0000-000000000000"},
        {"content": "hi", "session_id": "00000000-0000-0000-0000-000000000000"},
    ],
    ids=lambda body: str(body)[:50],
)
async def test_a_message_that_says_nothing_useful_is_refused(body: Row, ada: Caller, path: str) -> None:
    assert await ada.refused("POST", path, body) == (400, "invalid_input")
    assert (await ada.get(path))["results"] == []


@pytest.mark.postgres
async def test_ten_thousand_characters_are_taken(ada: Caller, path: str) -> None:
    await ada.post(path, {"content": "😀" * 10_000}, 202)


async def test_a_repeated_key_answers_with_the_first_ids(ada: Caller, path: str) -> None:
    first = await ada.post(path, {"content": "hello", "key": "k"}, 202)
    assert await ada.post(path, {"content": "hello", "key": "k"}, 202) == first | {"duplicate": True}
    assert await ada.post(path, {"content": "hello"}, 202, Idempotency_Key="k") == first | {"duplicate": True}
    assert await ada.refused("POST", path, {"content": "other", "key": "k"}) == (409, "conflict")
    assert len((await ada.get(path))["results"]) == 1


async def test_the_key_may_come_as_a_header(ada: Caller, path: str) -> None:
    first = await ada.post(path, {"content": "hello"}, 202, Idempotency_Key="k")
    assert await ada.post(path, {"content": "hello", "key": "k"}, 202, Idempotency_Key="k") == first | {
        "duplicate": True
    }
    first = await ada.post(path, {"content": "hello", "key": "ключ"}, 202)
    in_utf_8 = "ключ".encode().decode("latin-1")  # how its bytes are given to Django's test client
    assert await ada.post(path, {"content": "hello"}, 202, Idempotency_Key=in_utf_8) == first | {"duplicate": True}
    for key, header in (("a", "b"), (None, ""), (None, "k" * 129), (None, "\xe9"), (None, "a\0")):
        refused = await ada.refused("POST", path, {"content": "x", "key": key}, Idempotency_Key=header)
        assert refused == (400, "invalid_input")


@pytest.mark.postgres
async def test_a_key_sent_many_times_at_once_makes_one_message(ada: Caller, path: str) -> None:
    said = await asyncio.gather(*(ada.post(path, {"content": "hello", "key": "k"}, 202) for _ in range(8)))
    assert len({row["message_id"] for row in said}) == 1
    assert sorted(row["duplicate"] for row in said) == [False] + [True] * 7


async def test_ada_and_ben_may_use_the_same_key(ada: Caller, ben: Caller, session_id: str, path: str) -> None:
    await ada.let_in(session_id, ben)
    adas = await ada.post(path, {"content": "hello", "key": "k"}, 202)
    bens = await ben.post(path, {"content": "bye", "key": "k"}, 202)
    assert bens["duplicate"] is False
    keys = {row["message_id"]: row["key"] for row in (await ben.get(path))["results"]}
    assert keys == {adas["message_id"]: None, bens["message_id"]: "k"}


async def test_too_many_messages_in_a_short_time_are_refused_with_a_time_to_wait(
    ada: Caller, path: str, settings: Settings
) -> None:
    settings.CHAT_MESSAGES_PER_10S = 2
    for index in range(2):
        await ada.post(path, {"content": str(index), "key": str(index)}, 202)
    response = await ada.ask("POST", path, {"content": "3"})
    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 10
    assert await ada.refused("POST", path, {"content": "3"}) == (429, "rate_limited")
    await ada.post(path, {"content": "0", "key": "0"}, 202)  # what is known is answered all the same


async def test_too_many_waiting_messages_and_a_busy_session_are_told(
    ada: Caller, path: str, settings: Settings
) -> None:
    settings.CHAT_WAITING_PER_SESSION = 1
    await ada.post(path, {"content": "1"}, 202)
    assert await ada.refused("POST", path, {"content": "2"}) == (429, "too_many_waiting")
    assert await ada.refused("POST", path, {"content": "2", "on_busy": "reject"}) == (409, "busy")


async def test_eve_learns_nothing_of_a_key(ada: Caller, eve: Caller, path: str) -> None:
    await ada.post(path, {"content": "hello", "key": "k"}, 202)
    assert await eve.refused("POST", path, {"content": "hello", "key": "k"}) == (404, "not_found")
    assert await eve.refused("POST", f"{path}?wait=1", {"content": "hello"}) == (404, "not_found")


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_one_who_waits_gets_the_run_and_its_answer(
    ada: Caller, worker: WorkerOfATest, session_id: str, path: str
) -> None:
    asked = asyncio.create_task(ada.post(f"{path}?wait=20", {"content": "hello", "key": "k"}))
    run = await _started(worker, session_id)
    await asyncio.sleep(0.05)
    assert not asked.done()
    await worker.finish(run, "An answer.")
    ended = time.monotonic()
    got = await asked
    assert time.monotonic() - ended < 1
    assert set(got) == {"message_id", "run_id", "duplicate", "run", "reply"}
    assert (got["run"]["status"], got["run"]["run_id"]) == ("succeeded", got["run_id"])
    assert (got["reply"]["content"], got["reply"]["message_id"]) == ("An answer.", got["run"]["message_id"])
    assert set(got["reply"]) == set(ROW_KEYS["message"])
    # Again with the same key: it is over, so nobody waits.
    assert await ada.post(f"{path}?wait=20", {"content": "hello", "key": "k"}) == got | {"duplicate": True}
    assert not hubs._hubs


async def _started(worker: WorkerOfATest, session_id: str) -> Any:
    while not await Message.objects.filter(session=UUID(session_id)).aexists():
        await asyncio.sleep(0.01)
    return await worker.start(session_id)


async def test_one_who_waits_in_vain_is_told_what_was_taken(ada: Caller, path: str) -> None:
    begun = time.monotonic()
    said = await ada.post(f"{path}?wait=0.3", {"content": "hello"}, 202)
    assert 0.25 < time.monotonic() - begun < 3
    assert set(said) == {"message_id", "run_id", "duplicate"}
    assert not hubs._hubs
    await ada.post(f"{path}?wait=0", {"content": "hello"}, 202)


@pytest.mark.parametrize("wait", ["61", "-1", "x", "", "nan", "inf", "1e9"])
async def test_a_wait_that_cannot_be_is_refused_before_anything_is_said(wait: str, ada: Caller, path: str) -> None:
    assert await ada.refused("POST", f"{path}?wait={wait}", {"content": "hello"}) == (400, "invalid_input")
    assert (await ada.get(path))["results"] == []


async def test_a_run_that_fails_or_is_cancelled_has_no_reply(
    ada: Caller, worker: WorkerOfATest, session_id: str, path: str
) -> None:
    asked = asyncio.create_task(ada.post(f"{path}?wait=20", {"content": "hello"}))
    await worker.fail(await _started(worker, session_id))
    got = await asked
    assert (got["run"]["status"], got["run"]["error"]["code"], got["reply"]) == ("failed", "llm_timeout", None)

    asked = asyncio.create_task(ada.post(f"{path}?wait=20", {"content": "again", "key": "k"}))
    while not await Message.objects.filter(session=UUID(session_id), key="k").aexists():
        await asyncio.sleep(0.01)
    (open_run,) = (await ada.get(f"{SESSIONS}{session_id}/"))["runs"]
    await ada.post(f"/api/runs/{open_run['run_id']}/cancel/")
    got = await asked
    assert (got["run"]["status"], got["reply"]) == ("cancelled", None)


async def test_waiting_needs_no_redis(
    ada: Caller, worker: WorkerOfATest, session_id: str, path: str, redis_server: Redis
) -> None:
    redis_server.kill()
    asked = asyncio.create_task(ada.post(f"{path}?wait=20", {"content": "hello"}))
    run = await _started(worker, session_id)
    await asyncio.sleep(1.5)  # the subscription was given up
    await worker.finish(run, "An answer.")
    ended = time.monotonic()
    assert (await asked)["reply"]["content"] == "An answer."
    assert time.monotonic() - ended < 1.5


async def test_one_who_is_taken_out_while_waiting_learns_nothing_more(
    ada: Caller, ben: Caller, worker: WorkerOfATest, session_id: str, path: str
) -> None:
    await ada.let_in(session_id, ben)
    asked = asyncio.create_task(ben.refused("POST", f"{path}?wait=20", {"content": "hello"}))
    await _started(worker, session_id)
    await asyncio.sleep(0.1)
    await ada.call("DELETE", f"{SESSIONS}{session_id}/members/{ben.id}/", status=204)
    assert await asked == (404, "not_found")


async def test_where_waiting_fails_the_message_was_still_taken(
    ada: Caller, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OperationalError("the database went away")

    with monkeypatch.context() as patch:
        patch.setattr("chat.api.waiting.read_membership", broken)
        said = await ada.post(f"{path}?wait=5", {"content": "hello", "key": "k"}, 202)
        assert said["duplicate"] is False
    run_id = (await ada.post(f"/api/runs/{said['run_id']}/cancel/"))["run_id"]
    with monkeypatch.context() as patch:  # it has ended, and what came of it cannot be read
        patch.setattr("chat.api.messages._read_answer", broken)
        said = await ada.post(f"{path}?wait=5", {"content": "hello", "key": "k"}, 202)
        assert (said["run_id"], said["duplicate"]) == (run_id, True)


async def test_one_who_waits_is_a_connection_and_one_too_many_is_answered_at_once(
    ada: Caller, worker: WorkerOfATest, session_id: str, path: str, settings: Settings
) -> None:
    settings.CHAT_SOCKETS_PER_USER = 1
    asked = asyncio.create_task(ada.post(f"{path}?wait=20", {"content": "hello", "key": "k"}))
    run = await _started(worker, session_id)
    for wait, key, is_known in (("20", "k", True), ("20", "other", False), ("0", "third", False)):
        said = await ada.post(f"{path}?wait={wait}", {"content": "hello", "key": key}, 202)
        assert said["duplicate"] is is_known
    assert len((await ada.get(path))["results"]) == 3
    await worker.finish(run, "An answer.")
    assert (await asked)["reply"]["content"] == "An answer."
    assert (await ada.post(f"{path}?wait=20", {"content": "hello", "key": "k"}))["reply"], "there is room again"


async def test_those_who_wait_hold_no_threads(ada: Caller, session_id: str, path: str, settings: Settings) -> None:
    from chatproject import asgi

    # Django's test client connects again what the application disconnects from every request.
    application = importlib.reload(asgi).application
    settings.CHAT_MESSAGES_PER_10S = settings.CHAT_SOCKETS_PER_USER = 0
    assert ada.user is not None
    token = AccessToken.for_user(ada.user)
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"wait=20",
        "headers": [(b"authorization", f"Bearer {token}".encode()), (b"host", b"localhost")],
    }
    communicator: Any = ApplicationCommunicator
    waiting = [communicator(application, scope) for _ in range(40)]
    threads = threading.active_count()
    for one in waiting:
        await one.send_input({"type": "http.request", "body": b'{"content": "hello"}'})
    while await Message.objects.filter(session=UUID(session_id)).acount() < len(waiting):
        await asyncio.sleep(0.02)
    assert threading.active_count() < threads + 20  # the database's own, shared by all
    for one in waiting:
        await one.send_input({"type": "http.disconnect"})
        await one.wait()
    assert not hubs._hubs


async def test_a_message_is_shown_and_changed_while_it_waits(
    ada: Caller, ben: Caller, session_id: str, worker: WorkerOfATest
) -> None:
    await ada.let_in(session_id, ben)
    await ada.say(session_id)
    said = await ada.say(session_id, "Tpyo", key="k")
    one = f"/api/messages/{said['message_id']}/"
    changed = await ada.call("PATCH", one, {"content": "Typo"})
    assert (changed["content"], changed["key"], set(changed)) == ("Typo", "k", set(ROW_KEYS["message"]))
    assert await ada.get(one) == changed
    assert await ben.get(one) == {**changed, "key": None}
    assert await ben.refused("PATCH", one, {"content": "Mine"}) == (403, "not_allowed")
    for body in ({}, {"content": ""}, {"content": "x", "key": "y"}):
        assert await ada.refused("PATCH", one, body) == (400, "invalid_input")
    await worker.answer(session_id)
    await worker.start(session_id)
    assert await ada.refused("PATCH", one, {"content": "Too late"}) == (409, "conflict")


async def test_what_was_taken_back_is_in_no_list(ada: Caller, session_id: str, path: str) -> None:
    gone = await ada.say(session_id, "Tpyo")
    await ada.say(session_id, "Typo", on_busy="rollback")
    assert [row["content"] for row in (await ada.get(path))["results"]] == ["Typo"]
    assert [row["content"] for row in (await ada.get(f"{SESSIONS}{session_id}/"))["messages"]] == ["Typo"]
    assert await ada.refused("GET", f"/api/messages/{gone['message_id']}/") == (404, "not_found")
    body = {"content": "An answer", "parent_id": gone["message_id"]}
    assert await ada.refused("POST", path, body) == (400, "invalid_input")


async def test_who_was_signed_out_while_they_waited_gets_no_answer(
    ada: Caller, session_id: str, path: str, worker: WorkerOfATest
) -> None:
    asked = asyncio.create_task(ada.refused("POST", f"{path}?wait=20", {"content": "hello"}))
    run = await _started(worker, session_id)
    assert ada.user is not None
    await type(ada.user).objects.filter(pk=ada.id).aupdate(is_active=False)
    await worker.finish(run, "The secret")
    assert await asked == (401, "not_authenticated")
