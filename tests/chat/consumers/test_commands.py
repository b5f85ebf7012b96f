"""What a socket asks for, each command and each refusal."""

import asyncio
import json
from uuid import UUID, uuid4

import pytest

from chat import consumers, failpoints
from chat.actions import attempts, members
from chat.actions.questions import Question
from chat.database import reading
from chat.errors import Unavailable
from chat.models import Interrupt, User
from chat.protocol.commands import NewMember
from tests.chat.consumers.sockets import Socket, socket_of
from tests.chat.hub.watching import act
from tests.inside import Talk


def ask(talk: Talk) -> Interrupt:
    """Have the run that waits first ask people which order is meant."""
    run = attempts.interrupt_run(talk.claim(), [Question("question", "Which order?")])
    return Interrupt.objects.get(run_id=run.pk)


async def test_every_command_is_answered_once_with_its_shape(talk: Talk) -> None:
    session_id = str(talk.pk)
    async with socket_of(talk.ada) as socket:
        subscribed = await socket.ok("session.subscribe", session_id=session_id)
        assert set(subscribed) == {"session", "last_seq"}
        assert subscribed["session"]["session_id"] == session_id and subscribed["session"]["my_role"] == "owner"
        assert "messages" not in subscribed["session"]
        assert subscribed["last_seq"] == subscribed["session"]["last_seq"] == await reading(lambda: talk.last_seq)

        said = await socket.ok("message.send", session_id=session_id, content="One", key="k1")
        assert set(said) == {"message_id", "run_id", "duplicate"} and said["duplicate"] is False
        again = await socket.ok("message.send", session_id=session_id, content="One", key="k1")
        assert again == {**said, "duplicate": True}
        assert await socket.refused("message.send", session_id=session_id, content="Two", key="k1") == "conflict"
        assert await socket.ok("message.update", message_id=said["message_id"], content="One!") == {}

        other = await socket.ok("message.send", session_id=session_id, content="Two")
        moved = await socket.ok("run.move", run_id=other["run_id"], before=said["run_id"])
        assert moved == {"run_id": other["run_id"], "status": "queued"}
        cancelled = await socket.ok("run.cancel", run_id=other["run_id"])
        assert cancelled == {"run_id": other["run_id"], "status": "cancelled"}
        assert await socket.ok("run.cancel", run_id=other["run_id"]) == cancelled
        retried = await socket.ok("run.retry", run_id=other["run_id"])
        assert set(retried) == {"run_id", "status"} and retried["status"] == "queued"

        unknown = await socket.refused("interrupt.resolve", interrupt_id=str(uuid4()), answer={"approved": True})
        assert unknown == "not_found"
        asked = await act(ask, talk)
        resolved = await socket.ok("interrupt.resolve", interrupt_id=str(asked.pk), answer={"text": "7"})
        assert resolved == {"interrupt_id": str(asked.pk), "run_id": str(asked.run_id)}
        late = await socket.refused("interrupt.resolve", interrupt_id=str(asked.pk), answer={"text": "8"})
        assert late == "already_resolved"
        assert await socket.ok("typing", session_id=session_id, active=True) == {}
        pong = await socket.ask("ping")
        assert (pong["type"], pong["data"]) == ("pong", {})
        assert await socket.ok("session.unsubscribe", session_id=session_id) == {}

        answers = [frame["ref"] for frame in socket.frames if "ref" in frame]
        assert sorted(answers, key=int) == [str(n) for n in range(1, socket._refs + 1)]
        socket.fold(talk.pk, after=subscribed["last_seq"])


async def test_what_is_not_yours_is_not_there(talk: Talk, eve: User) -> None:
    said = await act(talk.post, "Private")
    asked = await act(ask, talk)
    async with socket_of(eve) as socket:
        session_id, run_id = str(talk.pk), str(said.run_id)
        for command in (
            {"kind": "session.subscribe", "session_id": session_id},
            {"kind": "session.unsubscribe", "session_id": session_id},
            {"kind": "message.send", "session_id": session_id, "content": "Hello"},
            {"kind": "message.update", "message_id": str(said.message_id), "content": "Mine now"},
            {"kind": "run.cancel", "run_id": run_id},
            {"kind": "run.retry", "run_id": run_id},
            {"kind": "run.move", "run_id": run_id, "before": None},
            {"kind": "interrupt.resolve", "interrupt_id": str(asked.pk), "answer": {"text": "7"}},
            {"kind": "typing", "session_id": session_id, "active": True},
        ):
            assert await socket.refused(**command) == "not_found", command
        assert await socket.refused("session.subscribe", session_id=str(uuid4())) == "not_found"


async def test_a_viewer_reads_and_does_not_write(talk: Talk) -> None:
    await act(members.add_member, talk.ada, talk.pk, NewMember(username="ben", role="viewer"))
    said = await act(talk.post, "Look")
    asked = await act(ask, talk)
    async with socket_of(talk.ben) as socket:
        subscribed = await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        assert subscribed["session"]["my_role"] == "viewer"
        for kind, data in (
            ("message.send", {"session_id": str(talk.pk), "content": "Hello"}),
            ("run.cancel", {"run_id": str(said.run_id)}),
            ("interrupt.resolve", {"interrupt_id": str(asked.pk), "answer": {"text": "7"}}),
            ("typing", {"session_id": str(talk.pk), "active": True}),
        ):
            assert await socket.refused(kind, **data) == "not_allowed"


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("no json", None),
        ("[]", None),
        ('{"type": "ping", "ref": 7}', None),
        ('{"type": "ping", "ref": "' + "x" * 65 + '"}', None),
        ('{"type": "fly", "ref": "a"}', "a"),
        ('{"type": "ping", "ref": "a", "more": 1}', "a"),
        ('{"type": "ping", "ref": "a", "data": {"more": 1}}', "a"),
        ('{"type": "session.subscribe", "ref": "a", "data": {"session_id": "nonsense"}}', "a"),
        (
            '{"type": "session.subscribe", "ref": "a", "data": {"session_id": "'
            + str(UUID(int=1))
            + '", "after": -1}}',
            "a",
        ),
        (
            '{"type": "message.send", "ref": "a", "data": {"session_id": "' + str(UUID(int=1)) + '", "content": " "}}',
            "a",
        ),
        ("null", None),
        ("", None),
    ],
)
async def test_what_is_no_command_is_an_error_and_the_socket_stays(talk: Talk, text: str, ref: str | None) -> None:
    async with socket_of(talk.ada) as socket:
        await socket.wire.send_input({"type": "websocket.receive", "text": text})
        error = await socket.next()
        assert error is not None and (error["type"], error["ref"]) == ("error", ref)
        assert error["data"]["code"] == "invalid_input" and error["data"]["temporary"] is False
        assert (await socket.ask("ping"))["type"] == "pong"


async def test_binary_and_oversized_frames_are_refused_and_the_socket_stays(talk: Talk) -> None:
    async with socket_of(talk.ada) as socket:
        await socket.wire.send_to(bytes_data=b"\x00\x01")
        assert (await socket.next())["data"]["code"] == "invalid_input"  # type: ignore[index]
        for filling in ("x" * 128 * 1024, "🦉" * 33_000):
            await socket.wire.send_to(
                text_data=json.dumps({"type": "ping", "data": {"x": filling}}, ensure_ascii=False)
            )
            assert (await socket.next())["data"]["code"] == "too_large"  # type: ignore[index]
        assert (await socket.ask("ping"))["type"] == "pong"


async def test_a_flood_of_refused_frames_closes_the_socket(talk: Talk) -> None:
    async with socket_of(talk.ada) as socket:
        for number in range(consumers.REFUSED_MAX):
            await socket.wire.send_to(text_data=json.dumps({"type": "fly", "ref": str(number)}))
        assert await socket.closed() == 4413
        answers = [frame["ref"] for frame in socket.frames if "ref" in frame]
        assert answers == [*map(str, range(consumers.REFUSED_MAX)), None], "each of them, and why it was closed"


async def test_one_that_floods_and_takes_no_answers_is_closed_all_the_same(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "GOODBYE_S", 0.05)
    async with socket_of(talk.ada, drained=asyncio.Event().wait) as socket:
        for _ in range(consumers.REFUSED_MAX):
            await socket.wire.send_to(text_data="nonsense")
        assert await socket.closed() == 4413


async def test_refused_frames_of_long_ago_are_forgiven(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "REFUSED_WINDOW_S", 0.05)
    async with socket_of(talk.ada) as socket:
        for _ in range(3):
            for _ in range(consumers.REFUSED_MAX // 2):
                await socket.wire.send_to(text_data="nonsense")
            assert (await socket.ask("ping"))["type"] == "pong"
            await asyncio.sleep(0.06)


async def test_a_ping_does_not_wait_for_a_slow_command_and_other_commands_keep_their_order(talk: Talk) -> None:
    go_on = asyncio.Event()
    failpoints.armed["hub.subscribed"] = go_on.wait  # type: ignore[assignment]
    async with socket_of(talk.ada) as socket:
        subscribing = await socket.send("session.subscribe", session_id=str(talk.pk))
        sending = await socket.send("message.send", session_id=str(talk.pk), content="After I subscribed")
        assert (await socket.ask("ping"))["type"] == "pong"
        assert not [frame for frame in socket.frames if frame["type"] == "ok"]
        go_on.set()
        await socket.answer(subscribing)
        said = (await socket.answer(sending))["data"]
        await socket.until(lambda frame: frame["type"] == "run.queued" and frame["run_id"] == said["run_id"])


async def test_who_asks_for_very_much_at_once_is_answered_all_of_it(talk: Talk) -> None:
    async with socket_of(talk.ada) as socket:
        refs = [await socket.send("session.subscribe", session_id=str(talk.pk)) for _ in range(300)]
        refs.append(await socket.send("ping"))
        await socket.answer(refs[-1])
        await socket.until(lambda frame: len(answers_of(socket)) == len(refs))
        assert {ref for ref, _ in answers_of(socket)} == set(refs)
        assert [kind for _, kind in answers_of(socket)].count("ok") == 300
        await socket.ok("session.subscribe", session_id=str(talk.pk))


async def test_no_more_is_read_than_can_wait(talk: Talk) -> None:
    go_on = asyncio.Event()
    failpoints.armed["hub.subscribed"] = go_on.wait  # type: ignore[assignment]
    async with socket_of(talk.ada) as socket:
        for _ in range(2 * consumers.INBOX_MAX):
            await socket.send("session.subscribe", session_id=str(talk.pk))
        await asyncio.sleep(0.2)
        unread = socket.wire.input_queue.qsize()
        assert unread == consumers.INBOX_MAX - 1, "one is at work, as many wait as may"
        go_on.set()
        await socket.until(lambda frame: len(answers_of(socket)) == 2 * consumers.INBOX_MAX)


def answers_of(socket: Socket) -> list[tuple[str, str]]:
    return [(frame["ref"], frame["type"]) for frame in socket.frames if "ref" in frame]


async def test_who_waits_behind_one_that_nobody_could_serve_is_told_with_it(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would wait for the silent database anew, and the last of four be told after 20 s."""
    monkeypatch.setattr(consumers, "BEHIND_S", 0.05)
    silent, asked = asyncio.Event(), []

    async def fail() -> None:
        asked.append(1)
        await silent.wait()
        raise Unavailable("The database does not answer.")

    failpoints.armed["hub.subscribed"] = fail  # type: ignore[assignment]
    async with socket_of(talk.ada) as socket:
        refs = [await socket.send("session.subscribe", session_id=str(talk.pk)) for _ in range(4)]
        await asyncio.sleep(0.1)
        silent.set()
        answers = [await socket.answer(ref) for ref in refs]
        assert [one["data"]["code"] for one in answers] == ["unavailable"] * 4 and len(asked) == 1
        failpoints.armed.clear()
        await socket.ok("session.subscribe", session_id=str(talk.pk))


async def test_a_command_that_fails_is_an_error_and_no_end(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import InterfaceError

    for problem, code in (
        (RuntimeError("a mistake of ours, with /a/path in it"), "internal"),
        (InterfaceError("connection already closed"), "unavailable"),
    ):

        def fail(*_: object, problem: Exception = problem) -> None:
            raise problem

        monkeypatch.setattr(consumers, "read_membership", fail)
        async with socket_of(talk.ada) as socket:
            error = await socket.ask("session.subscribe", session_id=str(talk.pk))
            assert error["data"]["code"] == code and "path" not in str(error)
            assert (await socket.ask("ping"))["type"] == "pong"
