"""What is let through of deltas, case by case: no Redis, no table, no loop."""

from datetime import UTC, datetime
from typing import Any

import pytest

from chat.hub import drafts as module
from chat.hub.drafts import Draft, Drafts, Over, RunningRun, Verdict, promised
from chat.protocol import Delta, Frame

RUN, MESSAGE = "run-1", "message-1"
OPENING = {"role": "assistant", "author": {"name": "assistant"}, "kind": "text"}
KEY = (MESSAGE, "message.delta")


def frame(kind: str, *, run_id: str | None = RUN, attempt: int | None = None, message_id: str | None = None) -> Frame:
    data: dict[str, Any] = {"attempt": attempt, "message_id": message_id}
    at = datetime.now(UTC)
    return Frame.make(type=kind, session_id="s", run_id=run_id, seq=1, at=at, author_id=None, data=data)


def delta(
    offset: int, text: str, attempt: int = 1, message_id: str = MESSAGE, run_id: str = RUN, clearing: int = 0
) -> Delta:
    opening = OPENING if offset == 0 else None
    return Delta("message.delta", "s", run_id, message_id, attempt, offset, text, opening, clearing)


@pytest.fixture
def drafts() -> Drafts:
    """Those of a session with one running run, in its first attempt."""
    made = Drafts("s")
    made.know([RunningRun(RUN, 1, [MESSAGE], {"name": "assistant"})])
    return made


def text(drafts: Drafts) -> str:
    return "".join(one.text for one in drafts.whole())


def test_a_delta_continues_replaces_is_cut_or_asks(drafts: Drafts) -> None:
    assert drafts.take(delta(0, "ab")) is Verdict.SHOW
    assert drafts.take(delta(2, "cd")) is Verdict.SHOW
    assert drafts.take(delta(2, "cd")) is Verdict.DROP  # again
    cut = delta(3, "dXY")
    assert drafts.take(cut) is Verdict.SHOW
    assert (cut.offset, cut.text, text(drafts)) == (4, "XY", "abcdXY")
    assert drafts.take(delta(7, "!")) is Verdict.ASK  # one is missing
    assert text(drafts) == "abcdXY"
    assert drafts.take(delta(0, "anew")) is Verdict.SHOW
    assert text(drafts) == "anew"


@pytest.mark.parametrize("offset", [1, 4, 6])
def test_two_texts_of_one_message_are_never_glued_when_the_second_ones_beginning_was_missed(
    drafts: Drafts, offset: int
) -> None:
    drafts.take(delta(0, "void"))
    assert drafts.take(delta(offset, "of another text", clearing=1)) is Verdict.ASK
    assert drafts.whole() == [], "who joins now is not shown what is void"
    assert drafts.take(delta(offset + 15, "more", clearing=1)) is Verdict.ASK


def test_what_redis_says_of_a_text_that_was_begun_anew_is_taken_though_the_void_one_began_alike(
    drafts: Drafts,
) -> None:
    drafts.take(delta(0, "t1 t2 t3"))
    assert drafts.take(delta(3, "t2", clearing=1)) is Verdict.ASK
    before = drafts.standing()
    [changed] = drafts.merge([(KEY, redis_draft("t1 t2"))], before)
    assert (changed.offset, changed.text) == (0, "t1 t2")
    assert drafts.take(delta(5, " T3", clearing=1)) is Verdict.SHOW
    assert drafts.take(delta(0, "t1 t2 t3")) is Verdict.DROP, "a late delta of the void text"
    assert text(drafts) == "t1 t2 T3"


def redis_draft(said: str) -> Draft:
    [(_, draft), _] = promised([RunningRun(RUN, 1, [MESSAGE], {"name": "assistant"})])
    draft.add(said)
    return draft


def test_offsets_count_code_points(drafts: Drafts) -> None:
    drafts.take(delta(0, "ü🦉"))
    assert drafts.take(delta(2, "!")) is Verdict.SHOW
    assert text(drafts) == "ü🦉!"


def test_a_beginning_that_was_not_heard_is_asked_for(drafts: Drafts) -> None:
    assert drafts.take(delta(3, "d")) is Verdict.ASK
    assert drafts.whole() == []


@pytest.mark.parametrize("end", ["run.succeeded", "run.failed", "run.cancelled"])
def test_the_end_of_a_run_ends_its_deltas(drafts: Drafts, end: str) -> None:
    drafts.take(delta(0, "ab"))
    assert drafts.fold(frame(end, attempt=1)) == Over(RUN, None)
    assert drafts.whole() == []
    for late in (delta(0, "ab"), delta(2, "cd"), delta(0, "x", attempt=2), delta(0, "x", message_id="another")):
        assert drafts.take(late) is Verdict.DROP


def test_a_written_message_takes_no_delta_while_its_run_goes_on(drafts: Drafts) -> None:
    drafts.take(delta(0, "ab"))
    assert drafts.fold(frame("message.created", message_id=MESSAGE)) == Over(None, MESSAGE)
    assert drafts.take(delta(2, "cd")) is Verdict.DROP
    assert drafts.take(delta(0, "the next", message_id="message-2")) is Verdict.ASK, "nobody has named it yet"
    assert drafts.merge([(("message-2", KEY[1]), redis_draft("the next"))], {}) == []
    drafts.fold(frame("step.started", message_id="message-2"))
    assert drafts.take(delta(0, "the next", message_id="message-2")) is Verdict.SHOW
    assert drafts.fold(frame("run.updated", attempt=1, message_id="message-3")) is None
    assert drafts.take(delta(0, "and then", message_id="message-3")) is Verdict.SHOW


def test_what_a_run_promised_before_it_was_put_back_is_nobodys(drafts: Drafts) -> None:
    drafts.fold(frame("run.restarted", attempt=2))
    drafts.fold(frame("run.started", attempt=2, message_id="message-2"))
    assert drafts.take(delta(0, "x", attempt=2)) is Verdict.ASK
    assert drafts.take(delta(0, "x", attempt=2, message_id="message-2")) is Verdict.SHOW


def test_a_run_that_is_put_back_waits_for_its_next_attempt(drafts: Drafts) -> None:
    drafts.take(delta(0, "ab"))
    assert drafts.fold(frame("run.restarted", attempt=2)) == Over(RUN, None)
    assert drafts.take(delta(2, "cd")) is Verdict.DROP
    assert drafts.take(delta(0, "a", attempt=2, message_id="message-2")) is Verdict.ASK  # it overtook run.started
    assert drafts.fold(frame("run.started", attempt=2, message_id="message-2")) is None
    assert drafts.take(delta(2, "cd")) is Verdict.DROP
    assert drafts.take(delta(0, "a", attempt=2, message_id="message-2")) is Verdict.SHOW


def test_an_interrupted_run_writes_nothing_until_it_goes_on(drafts: Drafts) -> None:
    drafts.take(delta(0, "ab"))
    assert drafts.fold(frame("run.interrupted", attempt=1)) == Over(RUN, None)
    assert drafts.take(delta(2, "cd")) is Verdict.DROP, "of the attempt that has ended"
    assert drafts.take(delta(0, "on", attempt=2, message_id="message-2")) is Verdict.ASK, "it overtook its run.started"
    drafts.fold(frame("run.started", attempt=2, message_id="message-2"))
    assert drafts.take(delta(0, "on", attempt=2, message_id="message-2")) is Verdict.SHOW


def test_an_unknown_run_or_a_newer_attempt_is_asked_about(drafts: Drafts) -> None:
    assert drafts.take(delta(0, "a", run_id="run-2")) is Verdict.ASK
    assert drafts.take(delta(0, "a", attempt=2)) is Verdict.ASK


def test_what_is_not_about_runs_changes_nothing(drafts: Drafts) -> None:
    drafts.take(delta(0, "ab"))
    for kind in ("session.updated", "message.updated", "run.queued", "run.moved", "step.started"):
        assert drafts.fold(frame(kind, message_id=MESSAGE)) is None
    assert text(drafts) == "ab"


def test_what_is_remembered_of_the_past_is_bounded(drafts: Drafts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 10)
    for number in range(50):
        drafts.fold(frame("run.started", run_id=str(number), attempt=1))
        drafts.fold(frame("message.created", run_id=str(number), message_id=f"m{number}"))
        drafts.fold(frame("run.succeeded", run_id=str(number), attempt=1))
    assert len(drafts._ended) == len(drafts._written) == 10
    assert drafts._attempts == {RUN: 1} and drafts._running == {RUN}
    assert drafts.take(delta(0, "late", run_id="49")) is Verdict.DROP


# --- what Redis had when it was asked ---------------------------------------------------------------------------------


def theirs(content: str, attempt: int = 1) -> list[tuple[tuple[str, str], Draft]]:
    draft = Draft(RUN, attempt, OPENING)
    draft.add(content)
    return [(KEY, draft)]


def test_what_redis_has_beyond_ours_is_taken_over_and_told(drafts: Drafts) -> None:
    drafts.take(delta(0, "ab"))
    [told] = drafts.merge(theirs("abcd"), drafts.standing())
    assert (told.offset, told.text, told.opening) == (0, "abcd", OPENING)
    assert drafts.take(delta(2, "cd")) is Verdict.DROP
    assert drafts.take(delta(4, "e")) is Verdict.SHOW


def test_what_was_heard_meanwhile_is_newer_than_what_redis_said(drafts: Drafts) -> None:
    drafts.take(delta(0, "ab"))
    before = drafts.standing()
    drafts.take(delta(2, "cd"))
    assert drafts.merge(theirs("abc"), before) == []
    assert text(drafts) == "abcd"
    drafts.take(delta(0, "anew"))
    assert drafts.merge(theirs("abcd"), before) == []
    assert text(drafts) == "anew"


def test_a_text_that_is_another_one_than_ours_is_the_true_one(drafts: Drafts) -> None:
    drafts.take(delta(0, "what was cleared, unheard"))
    [told] = drafts.merge(theirs("anew"), drafts.standing())
    assert told.text == text(drafts) == "anew"


def test_what_is_over_by_now_is_not_taken_over(drafts: Drafts) -> None:
    before = drafts.standing()
    drafts.fold(frame("message.created", message_id=MESSAGE))
    assert drafts.merge(theirs("ab"), before) == []
    other = Drafts("s")
    other.know([RunningRun(RUN, 1, [MESSAGE], {})])
    other.fold(frame("run.restarted", attempt=2))
    assert other.merge(theirs("ab"), other.standing()) == []
    other.fold(frame("run.started", attempt=2, message_id="message-2"))
    assert other.merge(theirs("ab"), other.standing()) == []
    other.fold(frame("run.cancelled", attempt=2))
    assert other.merge(theirs("ab", attempt=2), other.standing()) == []
    assert other.whole() == []


def test_every_promised_message_may_have_text_and_reasoning() -> None:
    author = {"name": "assistant"}
    found = promised([RunningRun(RUN, 3, ["m1", "m2"], author)])
    assert [key for key, _ in found] == [
        ("m1", "message.delta"),
        ("m1", "reasoning.delta"),
        ("m2", "message.delta"),
        ("m2", "reasoning.delta"),
    ]
    assert all(draft.attempt == 3 and draft.opening == OPENING for _, draft in found)
