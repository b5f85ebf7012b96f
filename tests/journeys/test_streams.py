"""A session followed by server-sent events: what a socket is told, in the same order, and as easily resumed."""

import pytest

from tests.conftest import LONG, STEADY, SWIFT
from tests.connection import Person, Refused
from tests.event_source import EventSource
from tests.fold import DELTAS, Fold, Frame, differences
from tests.stack import Stack

ENDS = {"run.succeeded", "run.failed", "run.cancelled"}


def source(
    stack: Stack, who: Person, session_id: str, query: str = "", last_id: str | None = None, *, web: int = 1
) -> EventSource:
    return EventSource(f"{stack.webs[web].url}/api/sessions/{session_id}/events/{query}", who.token, last_id)


def facts(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame["seq"] is not None]


def shown(frames: list[Frame]) -> dict[str, str]:
    """What the deltas say, each message's pieces joined."""
    texts: dict[str, str] = {}
    for frame in frames:
        if frame["type"] in DELTAS:
            data = frame["data"]
            before = texts.get(data["message_id"], "") if data["offset"] else ""
            texts[data["message_id"]] = before + data["text"]
    return texts


async def test_a_stream_tells_what_a_socket_tells_and_folds_to_the_page(stack: Stack, ada: Person, ben: Person) -> None:
    async with stack.client(ada, web=0) as client:
        session_id = await client.new_session()
        await client.post(f"/api/sessions/{session_id}/members/", {"username": ben.username, "role": "viewer"})
        async with source(stack, ada, session_id, "?after=0") as mine, source(stack, ben, session_id) as bens:
            assert mine.response.headers["content-type"] == "text/event-stream"
            assert mine.response.headers["cache-control"] == "no-store"
            assert mine.response.headers["x-accel-buffering"] == "no"
            await client.subscribe(session_id, after=0)
            run_id = await client.say(session_id, "Tell me", key="k", llm=STEADY)
            [answer] = await client.answered(session_id, run_id)
            over = lambda frame: frame["type"] == "run.succeeded"  # noqa: E731
            frames, theirs = await mine.until(over), await bens.until(over)
        socket = [frame for _, frame in client.received if frame["session_id"] == session_id]
        assert facts(frames) == facts(socket)
        # The last pieces of a message are not told once it is there as a whole; how many those are, time decides.
        for told in (shown(frames), shown(socket)):
            assert told[answer["message_id"]] and answer["content"].startswith(told[answer["message_id"]])
        for event in mine.events:
            assert event.type == event.frame["type"]
            assert event.id == (None if event.frame["seq"] is None else str(event.frame["seq"]))
        fold = Fold(session_id)
        for frame in frames:
            fold.feed(frame)
        assert not list(differences(fold.state(), await client.get(f"/api/sessions/{session_id}/")))
        # Each reader has the own role, and no key of somebody else's.
        assert {frame["data"]["my_role"] for frame in facts(theirs) if frame["type"].startswith("session.")} == {
            "viewer"
        }
        assert [frame["data"]["key"] for frame in theirs if frame["type"] == "message.created"] == [None, None]


async def test_a_stream_is_resumed_at_each_event(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        await client.answered(session_id, await client.say(session_id, "Hello", llm=SWIFT))
        log = client.log(session_id)
        last = log[-1]["seq"]
        for seq in range(last):
            async with source(stack, ada, session_id, last_id=str(seq), web=seq % 2) as resumed:
                assert await resumed.until(lambda frame: frame["seq"] == last) == log[seq:]
        async with source(stack, ada, session_id, "?after=0", last_id=str(last - 1)) as resumed:
            await resumed.until(lambda frame: frame["seq"] == last)
            assert len(resumed.events) == 1, "what was seen counts more than where the URL begins"


async def test_one_that_comes_while_an_answer_is_written_is_shown_all_of_it(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        fold = await client.subscribe(session_id)
        run_id = await client.say(session_id, "Tell me", llm=LONG)
        last_id = None
        text = await client.shown(session_id, run_id, 100)
        for web in (0, 1, 0):  # it hangs up in the middle, and comes back
            async with source(stack, ada, session_id, last_id=last_id, web=web) as stream:
                frames = await stream.until(lambda frame: frame["type"] == "message.delta")
                assert frames[-1]["data"]["offset"] == 0
                assert len(frames[-1]["data"]["text"]) >= len(text)
                assert {"role", "author", "kind"} <= frames[-1]["data"].keys()
                last_id, text = stream.last_id, fold.draft(run_id)
        async with source(stack, ada, session_id) as stream:
            await stream.until(lambda frame: frame["type"] == "message.delta")
            await client.command("run.cancel", run_id=run_id)
            frames = [event.frame for event in stream.events]
            frames += await stream.until(lambda frame: frame["type"] in ENDS)
        told = Fold(session_id)
        for frame in frames:
            told.feed(frame)
        await client.agrees(session_id)
        assert told.state() == fold.state()


async def test_what_cannot_be_followed_is_refused_before_the_stream_begins(
    stack: Stack, ada: Person, eve: Person
) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        await client.post(f"/api/sessions/{session_id}/close/")
        stack.ask("ChatSession.objects.filter(pk=session_id).update(kept_from=2)", session_id=session_id)
    refused = [
        (eve, "", None, 404, "not_found"),
        (ada, "?after=3", None, 400, "invalid_input"),
        (ada, "?after=1", "3", 400, "invalid_input"),
        (ada, "", "none", 400, "invalid_input"),
        (ada, "", "9" * 30, 400, "invalid_input"),
        (ada, "?wait=3", None, 400, "invalid_input"),
        (ada, "?limit=3", None, 400, "invalid_input"),
        (ada, "?after=0", None, 410, "too_old"),
        (ada, "?after=1", "0", 410, "too_old"),
    ]
    for who, query, last_id, status, code in refused:
        with pytest.raises(Refused) as problem:
            async with source(stack, who, session_id, query, last_id):
                pass
        assert (problem.value.status, problem.value.code) == (status, code), (query, last_id)
    async with source(stack, ada, session_id, "?after=1") as stream:
        assert (await stream.until(lambda frame: True))[0]["type"] == "session.closed"


async def test_a_stream_ends_when_there_is_nothing_more_to_follow(stack: Stack, ada: Person, ben: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        members = f"/api/sessions/{session_id}/members/"
        await client.post(members, {"username": ben.username})
        async with source(stack, ada, session_id) as mine, source(stack, ben, session_id) as bens:
            await bens.until(lambda frame: frame["seq"] == 2)
            await client.call("DELETE", f"{members}{ben.user_id}/")
            assert [frame["type"] for frame in await bens.rest()] == ["session.member_removed"]
            await client.call("DELETE", f"/api/sessions/{session_id}/")
            assert (await mine.rest())[-1]["type"] == "session.deleted"
        with pytest.raises(Refused, match="not_found"):
            async with source(stack, ada, session_id, last_id=mine.last_id):
                pass


async def test_a_wait_ends_with_the_next_event_of_another_process(stack: Stack, ada: Person) -> None:
    async with stack.client(ada, web=0) as client, stack.client(ada, web=1) as other:
        session_id = await client.new_session()
        path = f"/api/sessions/{session_id}/events/"
        run_id = await client.say(session_id, "Hello", llm=SWIFT)
        frames: list[Frame] = []
        while not frames or frames[-1]["type"] not in ENDS:
            page = await other.get(path, after=frames[-1]["seq"] if frames else 0, wait=20)
            assert page["results"], "it came back with nothing though there was more to come"
            frames += page["results"]
        assert frames[-1]["run_id"] == run_id
        assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
