"""Background work on a session: it names itself once, unless a person did, and the bill has what that cost."""

import asyncio
from typing import Any

import pytest

from chat.actions import attempts, sessions
from chat.database import reading, writing
from chat.models import Agent, ChatSession, Run, Usage
from chat.protocol.commands import NewSession, SessionChange
from tests.inside import Talk, told
from tests.workers.process import LedLLM, until
from workers import jobs
from workers.llm.base import LLMError, Spent


@pytest.fixture
async def untitled(talk: Talk, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Talk:
    """A talk that nobody has named."""
    settings.CHAT_TITLE_LLM = ""
    session = await writing(sessions.create_session, talk.ada, NewSession())
    return Talk(session, talk.ada, talk.ben, talk.worker_id)


@pytest.fixture
def led(monkeypatch: pytest.MonkeyPatch) -> LedLLM:
    llm = LedLLM()
    monkeypatch.setattr(jobs, "llm_named", lambda name: llm)
    return llm


def asked_for(redis: Any) -> int:
    """How often a name was asked for since the last look."""
    told()
    count = redis.llen("jobs")
    redis.delete("jobs")
    return int(count)


def named(talk: Talk) -> tuple[str, bool]:
    row = ChatSession.objects.get(pk=talk.pk)
    return row.title, row.is_titled


async def test_a_session_names_itself_after_its_first_answer(untitled: Talk, led: LedLLM, redis: Any) -> None:
    run = await writing(untitled.answer, "Where is order 1042?", "It is late.")
    assert await asyncio.to_thread(asked_for, redis) == 1
    led.say("Late order")
    led.end(Spent(90, 2))
    before = await reading(lambda: untitled.last_seq)
    await jobs.title_session(str(run.pk))
    assert await reading(named, untitled) == ("Late order", True)
    [event] = await reading(untitled.log, before)
    assert (event.type, event.data["title"]) == ("session.updated", "Late order")
    rows = await reading(lambda: list(Usage.objects.filter(run=run).order_by("attempt").values_list()))
    assert [(row[2], row[4], row[5]) for row in rows] == [(0, 90, 2), (1, 3, 2)], "what it cost is on the bill"
    await writing(untitled.answer, "And now?", "Still late.")
    assert await asyncio.to_thread(asked_for, redis) == 0
    await jobs.title_session(str(run.pk))
    assert len(led.prompts) == 1, "once is enough"


async def test_a_text_for_emergencies_names_no_session(untitled: Talk, redis: Any) -> None:
    run = await writing(untitled.start)
    error = {"code": "llm_unavailable", "message": "It cannot be reached.", "temporary": True}
    await writing(lambda: attempts.finish_run(run, "Please call us.", attempts.Spending(), error=error))
    assert await asyncio.to_thread(asked_for, redis) == 0


async def test_what_a_person_names_is_named_by_nobody_else(untitled: Talk, led: LedLLM, redis: Any) -> None:
    await writing(sessions.update_session, untitled.ada, untitled.pk, SessionChange(title=""))
    run = await writing(untitled.answer)
    assert await asyncio.to_thread(asked_for, redis) == 0, "blanked on purpose"
    await jobs.title_session(str(run.pk))
    assert led.prompts == [] and await reading(named, untitled) == ("", True)
    begun = await writing(sessions.create_session, untitled.ada, NewSession(title="Mine"))
    assert begun.is_titled


@pytest.mark.parametrize("title", ["Mine", ""])
async def test_a_person_who_names_it_meanwhile_is_not_overruled(untitled: Talk, led: LedLLM, title: str) -> None:
    run = await writing(untitled.answer)
    naming = asyncio.ensure_future(jobs.title_session(str(run.pk)))
    await until(lambda: led.prompts, "the name is being found")
    await writing(sessions.update_session, untitled.ada, untitled.pk, SessionChange(title=title))
    led.say("Late order")
    led.end(Spent(90, 2))
    await naming
    assert await reading(named, untitled) == (title, True)
    assert await reading(Usage.objects.filter(run=run, attempt=0).count) == 1, "it was asked, and is owed"


async def test_a_name_that_was_not_found_is_looked_for_again(untitled: Talk, led: LedLLM, redis: Any) -> None:
    run = await writing(untitled.answer)
    led.fail(LLMError("llm_rejected", "No.", fault="validation"))
    await jobs.title_session(str(run.pk))
    assert await reading(named, untitled) == ("", False)
    await asyncio.to_thread(asked_for, redis)
    await writing(untitled.answer)
    assert await asyncio.to_thread(asked_for, redis) == 1


async def test_no_name_is_asked_for_without_an_answer_or_against_the_operators_will(
    untitled: Talk, redis: Any, settings: Any
) -> None:
    def fail() -> None:
        error = {"code": "llm_timeout", "message": "Too slow.", "temporary": True}
        attempts.fail_run(untitled.start(), error, "half", attempts.Spending())

    await writing(fail)
    settings.CHAT_TITLE_LLM = "none"
    await writing(untitled.answer)
    assert await asyncio.to_thread(asked_for, redis) == 0


async def test_a_session_that_is_deleted_meanwhile_needs_no_name(untitled: Talk, led: LedLLM) -> None:
    run: Run = await writing(untitled.answer)
    naming = asyncio.ensure_future(jobs.title_session(str(run.pk)))
    await until(lambda: led.prompts, "the name is being found")
    await writing(sessions.delete_session, untitled.ada, untitled.pk)
    led.say("Late order")
    led.end()
    await naming


# --- the summary ------------------------------------------------------------------------------------------------------


async def long_talk(talk: Talk, settings: Any) -> Run:
    settings.CHAT_CONTEXT_TOKENS = 600
    await writing(Agent.objects.filter(name="assistant").update, instructions="")
    for number in range(3):
        run: Run = await writing(talk.answer, f"Question {number}?".ljust(400), "Yes.".ljust(400))
    return run


def beside(run: Run) -> list[tuple[int, int]]:
    return list(Usage.objects.filter(run=run, attempt=0).values_list("input_tokens", "output_tokens"))


def summary_of(talk: Talk) -> str:
    return ChatSession.objects.get(pk=talk.pk).summary


async def test_a_summary_is_made_piece_by_piece_and_is_on_the_bill_beside_the_title(
    untitled: Talk, led: LedLLM, settings: Any
) -> None:
    run = await long_talk(untitled, settings)
    led.say("A name")
    led.end(Spent(7, 1))
    await jobs.title_session(str(run.pk))
    total = await reading(lambda: Run.objects.get(pk=run.pk).input_tokens)
    for piece in ("First.", "Second."):
        led.say(piece)
        led.end(Spent(100, 10))
    await jobs.summarise_session(str(untitled.pk), str(run.pk))
    assert len(led.prompts) == 3 and "First." in str(led.prompts[2]), "it goes on with what it has"
    assert await reading(summary_of, untitled) == "Second."
    assert await reading(beside, run) == [(207, 21)]
    assert await reading(lambda: Run.objects.get(pk=run.pk).input_tokens) == total, "nobody could be told any more"


async def test_the_run_that_found_it_crowded_says_how_much_is_read(talk: Talk, led: LedLLM, settings: Any) -> None:
    await long_talk(talk, settings)
    settings.CHAT_CONTEXT_TOKENS = 8000
    small = await writing(lambda: Agent.objects.create(name="small", context={"tokens": 600}))
    run = await writing(talk.start, "And now?", agent=small.name)
    led.say("Much was asked.")
    led.end()
    await jobs.summarise_session(str(talk.pk), str(run.pk))
    assert await reading(summary_of, talk) == "Much was asked."


async def test_a_summary_that_failed_is_owed_and_a_ring_of_an_older_version_names_no_run(
    talk: Talk, led: LedLLM, settings: Any
) -> None:
    run = await long_talk(talk, settings)
    led.say("Half")
    led.fail(LLMError("llm_rejected", "No.", fault="validation"))
    await jobs.summarise_session(str(talk.pk))
    assert await reading(summary_of, talk) == ""
    [(read, wrote)] = await reading(beside, run)
    assert read and wrote


async def test_a_session_that_is_deleted_meanwhile_needs_no_summary(talk: Talk, led: LedLLM, settings: Any) -> None:
    run = await long_talk(talk, settings)
    summing_up = asyncio.ensure_future(jobs.summarise_session(str(talk.pk), str(run.pk)))
    await until(lambda: led.prompts, "it is being summed up")
    await writing(sessions.delete_session, talk.ada, talk.pk)
    led.say("Nothing.")
    led.end()
    await summing_up
