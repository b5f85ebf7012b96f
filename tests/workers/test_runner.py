"""One run, from its claim to its end: whatever the end is, it is written once."""

import asyncio
import json
import threading
from typing import Any

import pytest
from django.db import DataError

from chat import shards, stream
from chat.actions import attempts, runs
from chat.database import reading, writing
from chat.layers import Listener
from chat.models import Agent, Message, Run
from chat.protocol import Delta, Frame
from tests.inside import Talk, told
from tests.workers.process import (
    UNAVAILABLE,
    LedLLM,
    answering,
    answers,
    over,
    shown,
    until,
    until_asked,
    until_row,
    usage,
)
from tests.workers.scripted import ScriptedLLM
from workers import runner
from workers.llm import chain
from workers.llm.base import Limits, LLMError, Spent, Text
from workers.llm.guarded import Guarded
from workers.runtime import Runtime

# --- an answer --------------------------------------------------------------------------------------------------------


async def test_an_answer_is_written_under_the_id_that_it_was_shown_with(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any
) -> None:
    held = await answering(talk, runtime, "Why?")
    llm.say("Because ", "of 🌍.")
    await shown(held.run, "Because of 🌍.", redis)
    llm.end(Spent(11, 4))
    await over(runtime)
    row = await until_row(held.run, status="succeeded", input_tokens=11, output_tokens=4)
    message = await reading(Message.objects.get, pk=row.answer_id)
    assert message.content == "Because of 🌍."
    assert [line.text for line in llm.prompts[0].talk] == ["Why?"]
    assert await usage(row) == [(1, 11, 4)]
    assert llm.closed == 1


async def test_an_answer_that_its_llm_did_not_end_says_why(talk: Talk, runtime: Runtime, llm: LedLLM) -> None:
    held = await answering(talk, runtime, "What are the three steps?")
    llm.say("First")
    llm.stop("length")
    llm.end()
    await over(runtime)
    row = await until_row(held.run, status="succeeded", error=None)
    message = await reading(Message.objects.get, pk=row.answer_id)
    assert (message.content, message.data) == ("First", {"cut": "length"})
    assert Message.is_talk(message.data)


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
async def test_what_was_read_is_kept_with_the_end_whatever_that_is(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any, end: str
) -> None:
    await writing(talk.answer, "One?", "One!")
    held = await answering(talk, runtime, "Two?")
    llm.say("Two")
    await shown(held.run, "Two", redis)
    if end == "cancelled":
        await runs.cancel_run(talk.ada, held.run.pk)
        llm.say(" more")  # its next delta is refused
    elif end == "failed":
        llm.fail(LLMError("llm_rejected", "No."))
    else:
        llm.end()
    await over(runtime)
    said = Message.objects.filter(session_id=talk.pk, content__in=["One?", "One!", "Two?"]).order_by("seq")
    seqs = await reading(lambda: [message.seq for message in said])
    row = await until_row(held.run, status=end)
    assert row.read is not None and row.read["seqs"] == seqs
    assert row.read["attempt"] == 1


async def test_all_of_an_answer_was_shown_before_it_is_written(
    talk: Talk, runtime: Runtime, llm: LedLLM, settings: Any
) -> None:
    """A delta that comes after its message would only be dropped, by every hub."""
    settings.CHAT_DELTA_WINDOW_MS = 3_600_000
    heard: list[tuple[str, Any]] = []

    def on_message(message: dict[str, Any]) -> None:
        if message["type"] == "delta":
            heard.append(("delta", Delta.unpack(message["delta"]).text))
        elif message["type"] == "event":
            heard.append((Frame.unpack(message["frame"]).type, None))

    listener = Listener(on_message, lambda: None)
    group = stream.session_group(talk.pk)
    assert await shards.layer().listen(group, listener)
    await answering(talk, runtime)
    llm.say(*"All of this")
    llm.end()
    await over(runtime)
    await until(lambda: ("run.succeeded", None) in heard, "the end is told")
    await shards.layer().unlisten(group, listener)
    names = [name for name, _ in heard]
    assert "".join(text for name, text in heard if name == "delta") == "All of this"
    last_delta = len(names) - 1 - names[::-1].index("delta")
    assert names.index("run.started") < names.index("delta")
    assert last_delta < len(names) - 1 - names[::-1].index("message.created")


async def test_text_that_no_database_takes_is_clean_before_it_gets_there(
    talk: Talk, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, redis: Any
) -> None:
    """Postgres would refuse it at the very end, after all of it was shown."""
    script = [Text("a\0b "), Text("\ud83c"), Text("\udf0d!")]
    monkeypatch.setattr(runner, "llm_named", lambda name: Guarded(ScriptedLLM(script), Limits()))
    held = await answering(talk, runtime)
    await over(runtime)
    await until_row(held.run, status="succeeded")
    assert await answers() == ["ab 🌍!"]


async def test_a_run_whose_count_of_tokens_no_database_takes_ends_all_the_same(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any
) -> None:
    """It would be asked for again until it counts as crashed too often."""
    held = await answering(talk, runtime)
    llm.say("Whole.")
    llm.end(Spent(11, 2**64))
    await over(runtime)
    row = await until_row(held.run, status="failed")
    assert (row.error or {})["code"] == "internal"


async def test_a_model_whose_packages_load_for_long_holds_up_nobody_else(
    talk: Talk, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, redis: Any
) -> None:
    """The lease is renewed only while the loop turns: the first answer of a second provider must not stop it."""
    loading, loaded = threading.Event(), threading.Event()

    def load(name: str) -> Guarded:
        loading.set()
        assert loaded.wait(5), "nothing else went on meanwhile"
        return Guarded(ScriptedLLM([Text("Loaded.")]), Limits())

    monkeypatch.setattr(runner, "llm_named", load)
    held = await answering(talk, runtime)
    await until(loading.is_set, "it is being loaded")
    loaded.set()
    await over(runtime)
    await until_row(held.run, status="succeeded")
    assert await answers() == ["Loaded."]


async def test_a_crowded_talk_is_summarised_after_its_answer(
    talk: Talk, runtime: Runtime, llm: LedLLM, settings: Any, redis: Any
) -> None:
    settings.CHAT_CONTEXT_TOKENS = 10
    held = await answering(talk, runtime, "A long question " * 10)
    llm.say("Yes.")
    llm.end()
    await over(runtime)
    await asyncio.to_thread(told)
    ring = json.loads(redis.lindex("jobs", 0))["headers"]
    assert (ring["task"], ring["argsrepr"]) == ("summarise_session", repr((str(talk.pk), str(held.run.pk))))


# --- a failure --------------------------------------------------------------------------------------------------------


async def test_a_model_that_fails_fails_the_run_and_what_was_shown_is_kept(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any
) -> None:
    held = await answering(talk, runtime)
    llm.say("Beca")
    await shown(held.run, "Beca", redis)
    llm.fail(UNAVAILABLE)
    await over(runtime)
    row = await until_row(held.run, status="failed")
    assert row.error == {"code": "llm_unavailable", "message": UNAVAILABLE.message, "temporary": False}
    message = await reading(Message.objects.get, pk=held.run.answer_id)
    assert (message.content, message.data["interrupted"]) == ("Beca", True)
    [(attempt, _, output)] = await usage(row)
    assert (attempt, output) == (1, 1), "a stream that broke off told no usage: it is estimated"


async def test_what_fails_for_the_moment_is_tried_again_and_shown_from_the_start(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any
) -> None:
    held = await answering(talk, runtime)
    llm.say("void")
    llm.fail(LLMError("llm_unavailable", "For the moment.", temporary=True, retry_after_s=0.01))
    await until_asked(llm, 2)
    llm.say("Good")
    await shown(held.run, "Good", redis)
    llm.end()
    await over(runtime)
    assert await answers() == ["Good"]


@pytest.mark.parametrize("texts", [[], [" "]])
async def test_an_empty_answer_is_a_failure(
    talk: Talk, runtime: Runtime, llm: LedLLM, monkeypatch: pytest.MonkeyPatch, texts: list[str]
) -> None:
    monkeypatch.setattr(chain, "_RETRY_AFTER_S", 0)
    held = await answering(talk, runtime)
    for _ in range(2):
        llm.say(*texts)
        llm.end()
    await over(runtime)
    row = await until_row(held.run, status="failed")
    assert row.error and row.error["code"] == "llm_empty"
    assert await answers() == []


async def test_a_bug_fails_the_run_and_tells_people_nothing_of_it(
    talk: Talk, runtime: Runtime, llm: LedLLM, caplog: pytest.LogCaptureFixture
) -> None:
    held = await answering(talk, runtime)
    llm.fail(RuntimeError("password=hunter2"))
    await over(runtime)
    row = await until_row(held.run, status="failed")
    assert row.error == runner.INTERNAL
    assert "hunter2" in caplog.text, "the log has it"
    assert not any("hunter2" in json.dumps(event.data) for event in await reading(talk.log))


async def test_an_agent_that_is_not_set_up_rightly_fails_the_run(
    talk: Talk, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    await writing(lambda: Agent.objects.create(name="odd", llm="nobody:at-all"))
    held = await answering(talk, runtime, agent="odd")
    await over(runtime)
    row = await until_row(held.run, status="failed")
    assert row.error and row.error["code"] == "llm_rejected"
    assert "nobody" not in row.error["message"]


@pytest.mark.parametrize("problem", [None, UNAVAILABLE])
async def test_what_was_shown_but_cannot_be_stored_still_lets_the_run_end(
    talk: Talk, runtime: Runtime, llm: LedLLM, monkeypatch: pytest.MonkeyPatch, problem: LLMError | None
) -> None:
    """Else it would be claimed, shown and refused again and again."""
    fail_run, finish_run = attempts.fail_run, attempts.finish_run

    def refuse(run: Run, *args: Any, **named: Any) -> Run:
        text = args[0] if isinstance(args[0], str) else args[1]
        if text:
            raise DataError("a text that this database does not take")
        return fail_run(run, *args, **named)

    monkeypatch.setattr(attempts, "fail_run", refuse)
    monkeypatch.setattr(attempts, "finish_run", refuse)
    assert finish_run is not attempts.finish_run
    held = await answering(talk, runtime)
    llm.say("odd")
    llm.fail(problem) if problem else llm.end()
    await over(runtime)
    row = await until_row(held.run, status="failed")
    assert row.error == (runner.told(problem) if problem else runner.INTERNAL)
    assert await answers() == []
