"""A run that acts: its calls are written down before they are made, and what needs a person waits for one."""

import asyncio
import json
from typing import Any

import pytest

from chat import stream
from chat.database import reading
from chat.models import Message
from tests.inside import Talk, told
from tests.workers.acting import Deeds, calling, calls, results, start, statuses, types
from tests.workers.process import LedLLM, over, until, until_asked, until_row
from workers.context import LEFT_OUT
from workers.llm.base import Called, Returned, Said, Spent
from workers.runtime import Runtime
from workers.steps import CALLS_MAX
from workers.tools import ToolError

# --- a loop -----------------------------------------------------------------------------------------------------------


async def test_what_a_tool_gives_is_read_by_the_llm_and_every_step_is_told(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime)
    llm.say("Let me look.")
    llm.call("look", number=7)
    llm.end(Spent(10, 2))
    await until_asked(llm, 2)
    assert deeds.done == [("look", 7)]
    asked, turn, returned = llm.prompts[1].talk[-3:]
    assert isinstance(asked, Said) and isinstance(turn, Called) and isinstance(returned, Returned)
    assert (turn.text, [call.tool for call in turn.calls]) == ("Let me look.", ["look"])
    assert (returned.call_id, json.loads(returned.text)["number"]) == ("c1", 7)
    llm.say("Seven.")
    llm.end(Spent(20, 1))
    await over(runtime)
    row = await until_row(run, status="succeeded", input_tokens=30, output_tokens=3)
    said = await reading(lambda: list(Message.objects.filter(run_id=run.pk).exclude(role="user").order_by("seq")))
    assert [(one.role, one.content) for one in said] == [
        ("assistant", "Let me look."),
        ("tool", ""),
        ("assistant", "Seven."),
    ]
    assert said[2].pk == row.answer_id != said[0].pk
    [call] = await calls(run)
    assert said[1].pk == call.pk and said[1].data["tool_call"]["result"] == {"number": 7, "text": ""}
    assert (call.status, call.calls, call.attempt) == ("returned", 1, 1)
    assert (await types(talk, run))[3:] == [
        "message.created",
        "step.started",
        "message.created",
        "tool.called",
        "run.updated",
        "message.updated",
        "tool.returned",
        "step.finished",
        "message.created",
        "run.succeeded",
    ]


async def test_a_tool_is_told_for_whom_it_is_called_and_by_which_key(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await calling(talk, runtime, llm, "look", number=7)
    await until(lambda: deeds.contexts, "it is called")
    [context] = deeds.contexts
    [call] = await calls(run)
    assert (context.session_id, context.run_id, context.tool_call_id) == (talk.pk, run.pk, call.pk)
    assert (context.user.pk, context.key) == (talk.ada.pk, str(call.pk))


async def test_words_of_no_account_before_a_call_are_no_message(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime)
    first = run.answer_id
    llm.say(" \n")
    llm.call("look")
    llm.end()
    await until_asked(llm, 2)
    llm.say("Done.")
    llm.end()
    await over(runtime)
    row = await until_row(run, status="succeeded")
    assert row.answer_id == first
    assert await reading(Message.objects.filter(run_id=run.pk, role="assistant").count) == 1


async def test_reads_go_side_by_side_and_each_write_alone_in_order(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    begun_together: list[int] = []
    at_work = 0

    async def look(number: int) -> int:
        """Look."""
        nonlocal at_work
        at_work += 1
        await asyncio.sleep(0.02)
        begun_together.append(at_work)
        await asyncio.sleep(0.02)
        at_work -= 1
        return number

    from workers.tools import tool

    deeds.tools["look"] = tool(effect="pure", access="read")(look)
    deeds.tools["write"] = tool(effect="idempotent", access="write", needs_approval=False, name="write")(look)
    run = await start(talk, runtime)
    for index, name in enumerate(["look", "look", "write", "write", "look"]):
        llm.call(name, f"c{index}", number=index)
    llm.end()
    await until_asked(llm, 2)
    assert begun_together == [2, 2, 1, 1, 1]
    assert [one for one, _ in results(llm)] == ["0", "1", "2", "3", "4"], "in the order of the LLM"
    assert [call.index for call in await calls(run)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("tool", "written", "says"),
    [
        ("nothing", "{}", "There is no tool nothing."),
        ("look", "{", "The arguments are no JSON."),
        ("look", '{"number": "7"}', "number"),
        ("look", '{"numbr": 7}', "numbr"),
        ("ask_human", '{"question": "?", "choices": ["a", "a"]}', "choices"),
    ],
)
async def test_a_call_that_cannot_be_made_fails_at_once_and_the_llm_is_told_why(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, tool: str, written: str, says: str
) -> None:
    run = await calling(talk, runtime, llm, tool, args_json=written)
    await until_asked(llm, 2)
    [(told, is_error)] = results(llm)
    assert says in told and is_error
    assert await statuses(run) == [(tool, "failed")] and not deeds.done
    assert "tool.called" not in await types(talk, run)


async def test_an_agent_can_call_only_the_tools_that_it_has(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers import runner

    everything = deeds.tools
    monkeypatch.setattr(runner, "tools_named", lambda names: {name: everything[name] for name in names})
    run = await start(talk, runtime)
    await until_asked(llm, 1)
    assert [spec.name for spec in llm.prompts[0].tools] == ["look"]
    llm.call("send", number=1)
    llm.end()
    await until_asked(llm, 2)
    assert await statuses(run) == [("send", "failed")] and not deeds.done


@pytest.mark.parametrize(
    ("problem", "told", "code"),
    [
        (ToolError("There is no order 7."), "There is no order 7.", "tool_error"),
        (RuntimeError("password=hunter2"), "The tool failed in a way that it should not.", "internal"),
        (SystemExit(1), "The tool failed in a way that it should not.", "internal"),
        (StopIteration(), "The tool failed in a way that it should not.", "internal"),
    ],
)
async def test_a_tool_that_fails_fails_its_call_and_not_the_run(
    talk: Talk,
    runtime: Runtime,
    llm: LedLLM,
    deeds: Deeds,
    redis: Any,
    caplog: pytest.LogCaptureFixture,
    problem: BaseException,
    told: str,
    code: str,
) -> None:
    def fail() -> None:
        raise problem

    deeds.add("look", "pure", does=fail)
    run = await calling(talk, runtime, llm, "look")
    await until_asked(llm, 2)
    assert results(llm) == [(told, True)]
    [call] = await calls(run)
    assert call.error == {"code": code, "message": told}
    assert "hunter2" not in caplog.text
    llm.say("Sorry.")
    llm.end()
    await over(runtime)
    await until_row(run, status="succeeded")


async def test_a_tool_that_takes_too_long_has_failed_and_keeps_nobody_waiting(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    deeds.add("look", "pure", does=deeds.wait, timeout_s=0.05)
    run = await calling(talk, runtime, llm, "look")
    await until_asked(llm, 2)
    deeds.hold.set()
    assert results(llm) == [("The tool took longer than 0.05 s.", True)]
    [call] = await calls(run)
    assert call.error and call.error["code"] == "timeout"


async def test_more_calls_than_are_made_at_once_fail_and_the_llm_is_told(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    await start(talk, runtime)
    for number in range(CALLS_MAX + 2):
        llm.call("look", number=number)
    llm.end()
    await until_asked(llm, 2)
    assert len(deeds.done) == CALLS_MAX
    *made, first, second = results(llm)
    assert len(made) == CALLS_MAX and not any(is_error for _, is_error in made)
    assert first == second == ("Not called: no more than 32 calls are made at once.", True)


async def test_the_draft_of_what_was_said_before_a_call_is_forgotten(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime)
    said = stream.draft_key(run.session_id, run.answer_id)
    llm.say("Let me look.")
    await until(lambda: redis.get(said), "it is shown")
    llm.call("look")
    llm.end()
    await until_asked(llm, 2)
    await asyncio.to_thread(told)
    assert redis.get(said) is None
    llm.say("Se")
    key = stream.draft_key(run.session_id, run.answer_id)
    await until(lambda: redis.get(key) == b"Se", "what follows is shown")
    assert key != said


async def test_results_of_long_ago_give_way_to_new_ones(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, settings: Any
) -> None:
    settings.CHAT_CONTEXT_TOKENS = 60
    await start(talk, runtime)
    for number in (1, 2, 3):
        llm.call("look", f"c{number}", text=str(number) * 150)
        llm.end()
        await until_asked(llm, number + 1)
    first, second, third = (one for one, _ in results(llm))
    assert first == second == LEFT_OUT and "333" in third
    assert "222" in results(llm, 2)[1][0], "the newest is always whole"
