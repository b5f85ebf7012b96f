"""What people send while an agent acts: read between two steps, in its place whatever happens, or answered after."""

from typing import Any

import pytest

from chat.actions import attempts
from chat.database import reading, writing
from chat.models import Event, Message, Run
from tests.inside import Talk
from tests.threads import failing_at
from tests.workers.acting import AGENT, Deeds, answer, questions, resumed, start, statuses, yes
from tests.workers.process import LOST, LedLLM, over, tick, until, until_asked, until_row
from workers.llm.base import Prompt, Said, ToolSpec
from workers.modes.react import is_greeting
from workers.runtime import Runtime


def heard(llm: LedLLM, prompt: int = -1) -> list[str]:
    """What the LLM read last, in short: the words of people, and the kinds of the other lines."""
    return [line.text if isinstance(line, Said) else type(line).__name__ for line in llm.prompts[prompt].talk]


async def join(talk: Talk, content: str) -> Any:
    posted = await writing(talk.post, content, talk.ben, on_busy="join")
    assert posted.joined
    return posted


async def step_of(message_id: Any) -> int | None:
    row = await reading(Message.objects.get, pk=message_id)
    return row.read_step


async def test_what_joins_is_read_before_the_next_step(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime, "Look at it.")
    await until_asked(llm, 1)
    first = await join(talk, "And at eight.")
    llm.call("look", number=7)
    llm.end()
    await until_asked(llm, 2)
    assert heard(llm) == ["Look at it.", "Called", "Returned", "And at eight."]
    assert await step_of(first.message_id) == 1
    second = await join(talk, "And at nine.")
    llm.call("look", "c2", number=8)
    llm.end()
    await until_asked(llm, 3)
    assert heard(llm)[3:] == ["And at eight.", "Called", "Returned", "And at nine."]
    assert await step_of(second.message_id) == 2
    llm.say("Seven, eight, nine.")
    llm.end()
    await over(runtime)
    await until_row(run, status="succeeded")
    assert not await reading(Run.objects.open().exists), "all of it was answered"


async def test_what_joins_is_heard_though_the_reply_to_its_commit_was_lost(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    """It counts as read then, and nobody else is going to answer it."""
    run = await start(talk, runtime, "Look at it.")
    await until_asked(llm, 1)
    joined = await join(talk, "And at eight.")
    with failing_at("joined.committed", LOST) as lost:
        llm.call("look", number=7)
        llm.end()
        await until_asked(llm, 2)
    assert lost and heard(llm) == ["Look at it.", "Called", "Returned", "And at eight."]
    told = [one for one in await reading(talk.log) if one.data.get("message_id") == str(joined.message_id)]
    assert [one.type for one in told] == ["message.created", "message.updated"], "it is read once"
    llm.say("Seven and eight.")
    llm.end()
    await over(runtime)
    await until_row(run, status="succeeded")


async def test_what_comes_after_the_last_look_is_answered_next(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime, "Look at it.")
    await until_asked(llm, 1)
    late = await join(talk, "And at eight.")
    llm.say("There.")
    llm.end()
    await until_row(run, status="succeeded")
    await over(runtime)
    [new] = await reading(lambda: list(Run.objects.open()))
    assert (new.message_id, new.agent_id, await step_of(late.message_id)) == (late.message_id, AGENT, None)
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    assert heard(llm) == ["Look at it.", "There.", "And at eight."]


async def test_what_joins_while_people_are_asked_is_read_with_their_answer(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime, "Send it.")
    llm.call("send", number=7)
    llm.end()
    await until_row(run, status="interrupted")
    joined = await join(talk, "To all of them.")
    assert len(await questions(run)) == 1
    await answer(talk, run, yes())
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    assert heard(llm) == ["Send it.", "Called", "Returned", "To all of them."]
    assert deeds.done == [("send", 7)] and await step_of(joined.message_id) == 1


@pytest.mark.parametrize("reason", ["drained", "worker_lost"])
async def test_what_was_read_keeps_its_place_for_the_next_attempt(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, reason: str
) -> None:
    run = await start(talk, runtime, "Look at it.")
    await until_asked(llm, 1)
    for number, content in ((7, "And at eight."), (8, "And at nine.")):
        await join(talk, content)
        llm.call("look", f"c{number}", number=number)
        llm.end()
        await until_asked(llm, number - 5)
    await writing(lambda: attempts.put_back(run, reason, stuck=True))
    await tick(runtime)
    await over(runtime)
    await join(talk, "Please.")
    await resumed(talk, runtime)
    await until_asked(llm, 4)
    steps = ["Called", "Returned", "And at eight.", "Called", "Returned", "And at nine."]
    assert heard(llm) == ["Look at it.", *steps, "Please."]
    assert len(deeds.done) == 2, "what is done is done"


@pytest.mark.parametrize("way", ["interrupt", "rollback"])
async def test_an_agent_makes_way_in_the_middle_of_a_call(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, way: str
) -> None:
    deeds.add("stand", "once", "write", deeds.wait, needs_approval=False)
    run = await start(talk, runtime, "Stand still.")
    llm.say("Let me stand.")
    llm.call("stand")
    llm.end()
    await until(deeds.held.is_set, "it stands")
    posted = await writing(talk.post, "No, sing.", on_busy=way)
    deeds.hold.set()
    await tick(runtime)
    await over(runtime)
    assert await statuses(run) == [("stand", "unknown")], "it may have happened, and the ledger says so"
    said = await reading(lambda: [one.content for one in Message.objects.shown().exclude(role="tool").order_by("seq")])
    assert said == (["Stand still.", "Let me stand.", "No, sing."] if way == "interrupt" else ["No, sing."])
    [ended] = await reading(lambda: list(Event.objects.filter(type="run.cancelled", run_id=run.pk)))
    gone = await reading(lambda: {str(one.pk) for one in Message.objects.exclude(deleted_at=None)})
    assert gone <= set(ended.data["discarded"]) and len(gone) == (0 if way == "interrupt" else 3)
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    assert heard(llm)[-1] == "No, sing." and posted.run_id in runtime.held


def test_a_greeting_that_joins_a_request_leaves_it_a_request() -> None:
    tools = (ToolSpec("look", "Look.", {}),)
    said = {text: Said("user", text) for text in ("Look at it.", "thanks", "hi")}
    assert is_greeting(Prompt("", (said["hi"],), tools))
    assert is_greeting(Prompt("", (said["Look at it."], Said("assistant", "There."), said["thanks"]), tools))
    assert not is_greeting(Prompt("", (said["Look at it."], said["thanks"]), tools))
