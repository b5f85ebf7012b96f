"""The log over HTTP."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from chat.models import ChatSession
from tests.api.conftest import Caller, WorkerOfATest
from tests.fold import FRAME_KEYS, Fold, differences

SESSIONS = "/api/sessions/"


@pytest.mark.postgres
async def test_the_log_folds_to_the_page(ada: Caller, ben: Caller, worker: WorkerOfATest) -> None:
    session_id = await ada.new_session(title="Plans")
    await ada.let_in(session_id, ben)
    await ada.say(session_id, "hello", key="k")
    await worker.answer(session_id)
    await ben.say(session_id, "and now?", key="b")
    for caller in (ada, ben):
        log = await caller.get(f"{SESSIONS}{session_id}/events/")
        assert [frame["seq"] for frame in log["results"]] == list(range(1, log["last_seq"] + 1))
        assert all(set(frame) == FRAME_KEYS for frame in log["results"])
        fold = Fold(session_id)
        for frame in log["results"]:
            fold.feed(frame)
        page = await caller.get(f"{SESSIONS}{session_id}/")
        assert list(differences(fold.state(), page)) == []


async def test_each_reader_sees_the_own_role_and_keys(ada: Caller, ben: Caller) -> None:
    session_id = await ada.new_session()
    await ada.let_in(session_id, ben, "viewer")
    await ada.say(session_id, "hello", key="k")
    for caller, role, key in ((ada, "owner", "k"), (ben, "viewer", None)):
        frames = (await caller.get(f"{SESSIONS}{session_id}/events/"))["results"]
        assert {frame["data"]["my_role"] for frame in frames if frame["type"].startswith("session.")} == {role}
        assert [frame["data"]["key"] for frame in frames if frame["type"] == "message.created"] == [key]


async def test_the_log_is_read_in_pieces(ada: Caller, settings: Settings) -> None:
    settings.CHAT_MESSAGES_PER_10S = 0
    session_id = await ada.new_session()
    for index in range(30):
        await ada.say(session_id, str(index))
    path = f"{SESSIONS}{session_id}/events/"
    last_seq = (await ada.get(path))["last_seq"]
    assert len((await ada.get(path))["results"]) == 50 < last_seq
    seqs, after = [], 0
    while after < last_seq:
        results = (await ada.get(f"{path}?after={after}&limit=7"))["results"]
        seqs += [frame["seq"] for frame in results]
        after = seqs[-1]
    assert seqs == list(range(1, last_seq + 1))
    assert await ada.get(f"{path}?after={last_seq}") == {"results": [], "last_seq": last_seq}


async def test_beyond_the_end_and_before_what_is_kept_there_is_nothing(ada: Caller) -> None:
    session_id = await ada.new_session()
    await ada.say(session_id)
    path = f"{SESSIONS}{session_id}/events/"
    last_seq = (await ada.get(path))["last_seq"]
    for after in (str(last_seq + 1), str(2**63), "-1", "x", ""):
        assert await ada.refused("GET", f"{path}?after={after}") == (400, "invalid_input")
    await ChatSession.objects.filter(pk=session_id).aupdate(kept_from=3)
    for old in (0, 1):
        assert await ada.refused("GET", f"{path}?after={old}") == (410, "too_old")
    assert (await ada.get(f"{path}?after=2"))["results"][0]["seq"] == 3


async def test_eve_reads_no_log(ada: Caller, eve: Caller) -> None:
    session_id = await ada.new_session()
    for query in ("", "?after=0", "?after=100"):
        assert await eve.refused("GET", f"{SESSIONS}{session_id}/events/{query}") == (404, "not_found")
