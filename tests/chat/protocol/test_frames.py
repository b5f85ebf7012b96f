"""Frames out: every key always there, one text for all readers, and what one reader alone may see."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import msgpack
import pytest

from chat.errors import Conflict, InvalidInput, RateLimited
from chat.protocol import Delta, Frame, Reader, error, live, ok, pong, ready, time, typing
from tests.fold import FRAME_KEYS

AT = datetime(2026, 3, 4, 5, 6, 7, 80, tzinfo=UTC)
SESSION, RUN, MESSAGE, ADA, BEN = (str(uuid4()) for _ in range(5))
OWNER, MEMBER = Reader(ADA, "owner"), Reader(BEN, "member")


def frame(type: str = "message.created", data: dict[str, Any] | None = None, **more: Any) -> Frame:
    row = {"message_id": MESSAGE, "key": "k-1", "content": "Größe 🌍"} if data is None else data
    heads: dict[str, Any] = {"session_id": SESSION, "run_id": RUN, "seq": 7, "at": AT, "author_id": ADA} | more
    return Frame.make(type=type, data=row, **heads)


def seen(one: Frame, reader: Reader) -> Any:
    return json.loads(one.text_for(reader))


def test_a_durable_frame_has_every_key_and_its_row() -> None:
    read = json.loads(frame().text)
    assert read.keys() == FRAME_KEYS
    assert (read["type"], read["session_id"], read["run_id"], read["seq"]) == ("message.created", SESSION, RUN, 7)
    assert read["at"] == "2026-03-04T05:06:07.000080Z"
    assert read["data"]["content"] == "Größe 🌍"


def test_a_key_is_shown_to_its_author_alone() -> None:
    made = frame()
    assert seen(made, OWNER)["data"]["key"] == "k-1"
    assert seen(made, MEMBER)["data"]["key"] is None
    assert made.text_for(MEMBER) is made.text, "one text for all others"
    assert "k-1" not in made.text


def test_to_make_a_frame_changes_no_row() -> None:
    row = {"message_id": MESSAGE, "key": "k-1"}
    frame(data=row)
    assert row["key"] == "k-1"


def test_a_message_without_a_key_is_one_text_for_its_author_too() -> None:
    made = frame(data={"message_id": MESSAGE, "key": None})
    assert made.text_for(OWNER) is made.text


def test_a_session_tells_each_reader_the_readers_own_role() -> None:
    made = frame("session.updated", {"session_id": SESSION, "my_role": None})
    assert seen(made, OWNER)["data"]["my_role"] == "owner"
    assert seen(made, MEMBER)["data"]["my_role"] == "member"
    assert made.text_for(MEMBER) is made.text_for(Reader(str(uuid4()), "member")), "serialised once a role"


def test_the_head_says_what_the_server_has_to_know_without_reading_the_text() -> None:
    made = frame("run.started", {"run_id": RUN, "attempt": 2, "message_id": MESSAGE})
    assert (made.attempt, made.message_id, made.key) == (2, MESSAGE, None)


@pytest.mark.parametrize("type", ["message.created", "session.updated", "run.started"])
def test_a_frame_survives_the_way_between_two_processes(type: str) -> None:
    made = frame(type)
    made.text_for(OWNER)
    arrived = Frame.unpack(msgpack.unpackb(msgpack.packb(made.pack())))
    assert arrived == made
    assert seen(arrived, OWNER) == seen(made, OWNER)
    assert seen(arrived, MEMBER) == seen(made, MEMBER)


# --- deltas -----------------------------------------------------------------------------------------------------------


def delta(offset: int, text: str = "Hello") -> Delta:
    opening = {"role": "assistant", "author": {"kind": "agent", "name": "assistant"}, "kind": "text"}
    return Delta("message.delta", SESSION, RUN, MESSAGE, 2, offset, text, opening)


def test_a_delta_has_every_key_and_no_number() -> None:
    read = json.loads(delta(5).as_text())
    assert read.keys() == FRAME_KEYS
    assert (read["seq"], read["at"]) == (None, None)
    assert read["data"] == {"message_id": MESSAGE, "attempt": 2, "offset": 5, "text": "Hello"}


def test_the_one_at_offset_0_says_who_speaks() -> None:
    data = json.loads(delta(0).as_text())["data"]
    assert (data["role"], data["kind"], data["author"]["name"]) == ("assistant", "text", "assistant")


def test_a_delta_is_serialised_once_and_survives_the_way() -> None:
    made = delta(0, "🌍")
    assert made.as_text() is made.as_text()
    arrived = Delta.unpack(msgpack.unpackb(msgpack.packb(made.pack())))
    assert arrived == made and arrived.as_text() == made.as_text()


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [ok("7", {"a": 1}), error("7", Conflict()), pong("7")])
def test_an_answer_has_every_key_and_its_ref(text: str) -> None:
    read = json.loads(text)
    assert read.keys() == FRAME_KEYS | {"ref"}
    assert read["ref"] == "7"
    assert read["session_id"] is read["run_id"] is read["seq"] is read["at"] is None


def test_an_error_says_whether_and_when_to_try_again() -> None:
    data = json.loads(error(None, RateLimited(retry_after_s=1.23456)))["data"]
    assert data == {
        "code": "rate_limited",
        "message": "Too many messages in a short time.",
        "temporary": True,
        "retry_after_s": 1.235,
    }
    data = json.loads(error(None, InvalidInput("No.", fields={"content": "too long"})))["data"]
    assert data == {"code": "invalid_input", "message": "No.", "temporary": False, "fields": {"content": "too long"}}


def test_the_first_frame_and_who_types_have_every_key() -> None:
    first = json.loads(ready({"user_id": ADA}, 20, {"messages_per_10s": 10}, AT))
    types = json.loads(typing(SESSION, {"user_id": ADA}, True))
    assert first.keys() == types.keys() == FRAME_KEYS
    assert first["type"] == "connection.ready" and first["data"]["heartbeat_s"] == 20
    assert types["data"] == {"user": {"user_id": ADA}, "active": True}
    assert json.loads(live("typing", None, None, {}))["at"] is None


def test_times_are_utc_with_a_z_whatever_zone_they_were_told_in() -> None:
    assert time(AT.astimezone(timezone(timedelta(hours=5, minutes=30)))) == "2026-03-04T05:06:07.000080Z"
    assert time(AT.replace(microsecond=0)) == "2026-03-04T05:06:07.000000Z"
