"""From the fold to lines of a terminal that can only be added to."""

from chat.terminal.page import BACKLOG, Line, Page
from chat.terminal.state import Talk
from tests.terminal.frames import SESSION, delta, frame, message, run, session


def text(lines: list[Line]) -> list[str]:
    return ["".join(part for _, part in line) for line in lines]


def page(*frames: dict) -> Page:
    made = Page(Talk(SESSION))
    for one in frames:
        made.talk.fold(one)
    return made


def test_whole_lines_are_handed_out_once_and_the_rest_is_the_tail() -> None:
    made = page(delta("a1", 0, "one\ntw"))
    assert text(made.take()) == ["AI", "one"]
    assert made.tail == [("text", "tw")]
    made.talk.fold(delta("a1", 6, "o\nthree"))
    assert text(made.take()) == ["two"]
    made.talk.fold(frame("message.created", 1, message("a1", "one\ntwo\nthree")))
    assert text(made.take()) == ["three", ""]
    assert (made.tail, made.take()) == ([], [])


def test_a_resumed_draft_that_begins_as_what_was_shown_goes_on_without_a_seam() -> None:
    made = page(delta("a1", 0, "one\ntwo"))
    made.take()
    made.talk.fold(delta("a1", 0, "one\ntwo\nthree"))
    assert (text(made.take()), made.tail) == (["two"], [("text", "three")])


def test_a_text_that_turns_out_otherwise_is_said_to_be_replaced() -> None:
    made = page(delta("a1", 0, "one\n"))
    made.take()
    made.talk.fold(frame("message.created", 1, message("a1", "uno\ndue")))
    assert text(made.take()) == ["  · the text above was replaced", "AI", "uno", "due", ""]


def test_the_line_still_being_written_can_be_replaced_without_a_word() -> None:
    made = page(delta("a1", 0, "on"))
    made.take()
    made.talk.fold(frame("message.created", 1, message("a1", "uno")))
    assert text(made.take()) == ["AI", "uno", ""]


def test_a_discarded_answer_is_crossed_out_where_lines_of_it_stand() -> None:
    lost = frame("run.restarted", 1, run("queued") | {"reason": "worker_lost", "discarded": ["a1"]})
    made = page(delta("a1", 0, "one\ntwo"))
    made.take()
    made.talk.fold(lost)
    assert text(made.take()) == ["  · the text above is discarded: the worker was lost; the answer starts again", ""]
    assert made.tail == []


def test_a_discarded_answer_of_which_no_line_stands_vanishes_with_a_word() -> None:
    lost = frame("run.restarted", 1, run("queued") | {"reason": "worker_lost", "discarded": ["a1"]})
    made = page(delta("a1", 0, "tw"))
    made.take()
    made.talk.fold(lost)
    assert text(made.take()) == ["  · the worker was lost; the answer starts again", ""]


def test_what_is_said_during_an_answer_waits_for_its_end() -> None:
    made = page(delta("a1", 0, "one"), frame("message.created", 1, message("m2", "me too", "user")))
    assert text(made.take()) == []
    assert text([made.tail]) == ["AI\none"]
    assert [item.text for item in made.pending] == ["me too"]
    made.talk.fold(frame("message.created", 2, message("a1", "one")))
    assert text(made.take()) == ["AI", "one", "", "› me too", ""]
    assert made.pending == []


def test_people_are_told_apart_and_longer_messages_are_indented() -> None:
    ben = {"kind": "user", "name": "Ben", "title": "", "avatar": "", "color": ""}
    made = page(
        frame("message.created", 1, message("m1", "one\ntwo", "user")),
        frame("message.created", 2, message("m2", "one\ntwo", "user", key=None, author=ben)),
    )
    assert text(made.take()) == ["› one", "  two", "", "Ben › one", "      two", ""]


def test_names_and_texts_hold_no_orders_to_the_terminal() -> None:
    author = {"kind": "user", "name": "Ben\x1b[2J\nroot", "title": "", "avatar": "", "color": ""}
    made = page(frame("message.created", 1, message("m1", "a\x1b]0;x\x07b\rc", "user", key=None, author=author)))
    assert text(made.take()) == ["Ben root › abc", ""]


def test_notes_and_errors_have_marks_of_their_own() -> None:
    failed = run("failed", error={"code": "llm_empty", "message": "No answer came.", "temporary": True})
    made = page(
        frame("run.failed", 1, failed), frame("message.created", 2, message("n", "two\nlines", "system", kind="notice"))
    )
    assert text(made.take()) == ["  ! No answer came. (/retry tries again)", "", "  · two", "    lines", ""]


def test_an_opened_session_begins_with_its_newest_messages() -> None:
    many = [message(f"m{n}", str(n), "user") for n in range(BACKLOG + 3)]
    lines = text(Page(Talk.of(session(last_seq=99) | {"messages": many})).start())
    assert lines[0] == "  · 3 earlier left out"
    assert next(line for line in lines[2:] if line) == "› 3"


def test_a_fresh_reading_repeats_nothing_and_brings_what_was_missed() -> None:
    made = page(frame("message.created", 1, message("m1", "hello", "user")), delta("a1", 0, "one\ntwo"))
    made.take()
    messages = [message("m1", "hello", "user"), message("a1", "one\ntwo\nthree"), message("m2", "next", "user")]
    made.replace(Talk.of(session(last_seq=9) | {"messages": messages}))
    assert text(made.take()) == ["two", "three", "", "› next", ""]
