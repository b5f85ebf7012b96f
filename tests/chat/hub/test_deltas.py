"""What a live hub shows of an answer: deltas only while they are true, and all that was lost of them."""

import asyncio

import pytest

from chat import shards, stream
from chat.actions import attempts, sessions
from chat.database import writing
from tests.chat.hub.watching import Pen, Room, act, act_unheard, publish


async def test_deltas_are_contiguous_whatever_is_repeated_cut_or_lost(room: Room) -> None:
    watcher = await room.join()
    pen = await room.start()
    first = await act(pen.write, "Grüße ")
    second = await act(pen.write, "an 🦉 ")
    await room.shows(pen)
    for again in (second, pen.delta("e an 🦉 ", 4), pen.delta("üße an 🦉 und", 2)):
        publish(room.talk.pk, stream.delta_message(again))
    await writing(pen.write, "und alle, ", lost=True)
    await act(pen.write, "die lesen")
    await room.shows(pen)
    pieces = watcher.deltas(pen.message_id)
    assert [piece["offset"] for piece in pieces[:2]] == [0, len(first.text)]
    assert pieces[-1]["offset"] == 0 and pieces[-1]["text"] == pen.text  # a hole: all of it, once more
    assert pieces[-1]["role"] == "assistant" and pieces[-1]["author"]["name"] == "assistant"
    await act(pen.finish)
    await room.agree()


async def test_what_is_written_anew_replaces_what_was_shown(room: Room) -> None:
    watcher = await room.join()
    pen = await room.start()
    await act(pen.write, "A wrong beginning, and a long one")
    await room.shows(pen)
    await writing(pen.write, "Anew", anew=True, lost=True)  # only Redis knows that what was shown is void
    await act(pen.write, ", and right")
    publish(room.talk.pk, shards.layer().serialize({"type": "look"}))
    await room.shows(pen)
    await act(pen.finish)
    await room.agree()
    assert watcher.fold.answer(str(pen.run.pk))["content"] == "Anew, and right"  # type: ignore[index]


@pytest.mark.parametrize("end", ["finish", "cancel", "fail", "restart", "delete"])
async def test_no_delta_follows_the_end_of_what_it_is_about(room: Room, end: str) -> None:
    watcher = await room.join()
    pen = await room.start()
    await act(pen.write, "So far")
    await room.shows(pen)
    late = [pen.delta("", 0), pen.delta("So far and", 0), pen.delta(" and", 6), pen.delta(" more", 10)]
    if end == "finish":
        await act(pen.finish)
    elif end == "cancel":
        await act(room.talk.cancel, pen.run.pk)
    elif end == "fail":
        error = {"code": "llm_timeout", "message": "Too late.", "temporary": True}
        await act(attempts.fail_run, pen.run, error, pen.text, attempts.Spending("demo"))
    elif end == "restart":
        await act(attempts.put_back, pen.run, "drained")
    else:
        await act(sessions.delete_session, room.talk.ada, room.talk.pk)
    for delta in late:
        publish(room.talk.pk, stream.delta_message(delta))
    if end == "restart":
        again = Pen(await act(room.talk.claim))
        for delta in late:
            publish(room.talk.pk, stream.delta_message(delta))
        await act(again.write, "Once more")
        await room.shows(again)
    if end != "delete":
        await act(room.talk.post, "And then")
        await room.agree()
    await asyncio.sleep(0.02)
    assert watcher.violation is None
    assert sum(piece["text"] == "So far" for piece in watcher.deltas(pen.message_id)) == 1
    assert len(watcher.deltas(pen.message_id)) == 1


async def test_a_delta_that_overtakes_the_start_of_its_run_waits_for_it(room: Room) -> None:
    watcher = await room.join()
    pen = Pen(await act_unheard(room.talk.start, "Hello?"))
    await act(stream.raise_fence, room.talk.pk, pen.run.pk, 1)  # it was lost with the rest
    await act(pen.write, "First!")
    await room.shows(pen)
    assert watcher.types[-2:] == ["run.started", "message.delta"]
    await act(pen.finish)
    await room.agree()


async def test_a_delta_of_a_run_that_ended_long_ago_is_dropped(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await room.start()
    await act(old.write, "Long ago")
    await act(old.finish)
    watcher = await room.join(after=None)  # a new hub, which never saw it run
    publish(room.talk.pk, stream.delta_message(old.delta("still here", 0)))
    await act(room.talk.post, "Now")
    await room.agree()
    assert not watcher.deltas(old.message_id)


async def test_reasoning_and_text_of_one_message_do_not_mix(room: Room) -> None:
    watcher = await room.join()
    text = await room.start()
    thought = Pen(text.run, stream.REASONING)
    for n in range(5):
        await act(thought.write, f"thought {n} ")
        await act(text.write, f"word {n} ")
    await room.shows(text)
    late = await room.join(room.talk.ben)
    await room.shows(text)
    for one in (watcher, late):
        assert one.fold.drafts["reasoning", text.message_id].text == thought.text
    await act(text.finish)
    await room.agree()
    assert not watcher.fold.drafts and not room.hub._drafts.whole()


async def test_who_joins_in_the_middle_is_shown_all_of_it_so_far(room: Room) -> None:
    first = await room.join()
    pen = await room.start()
    for n in range(20):
        await act(pen.write, f"{n} ")
        if n % 5 == 0:
            await room.join(after=None)
    await room.shows(pen, first)
    for watcher in room.watchers:
        assert watcher.fold.draft(str(pen.run.pk)) == pen.text
