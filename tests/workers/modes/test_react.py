"""The react mode, with a list for a world: it asks, acts and looks until the answer is there."""

from collections.abc import Callable, Sequence

import pytest

from tests.workers.scripted import ScriptedLLM, asking
from workers.llm.base import Called, Line, LLMError, Prompt, Reasoning, Returned, Said, Text, ToolCall, ToolSpec, Void
from workers.modes.base import Acts, Answered, Cleared, Delta, ReasoningDelta, Work, Yield
from workers.modes.react import LAST, MATERIAL, is_greeting, react

LOOK = ToolSpec("look", "Look.", {"type": "object", "properties": {}})
CALL = ToolCall("c1", "look", "{}")


def came_of(acts: Acts) -> list[Line]:
    return [Called(acts.text, acts.calls), *(Returned(call.call_id, call.tool, "seen") for call in acts.calls)]


async def played(llm: ScriptedLLM, prompt: Prompt, may_act: Callable[[], bool] = lambda: True) -> list[Yield]:
    seen: list[Yield] = []
    mode = react(Work(prompt, llm, lambda: None, (LOOK,), may_act))
    reply: Sequence[Line] | None = None
    while True:
        try:
            one = await mode.asend(reply)
        except StopAsyncIteration:
            return seen
        seen.append(one)
        reply = came_of(one) if isinstance(one, Acts) else None


async def test_it_goes_on_with_what_came_of_its_calls() -> None:
    llm = ScriptedLLM([Text("Let me look."), CALL], [Reasoning("hm"), Text("Seen.")])
    assert await played(llm, asking("What is there?", instructions="Be brief.")) == [
        Delta("Let me look."),
        Acts("Let me look.", (CALL,)),
        ReasoningDelta("hm"),
        Delta("Seen."),
        Answered("Seen.", "hm"),
    ]
    first, second = llm.prompts
    assert first.tools == second.tools == (LOOK,)
    assert first.instructions == f"Be brief.\n\n{MATERIAL}" == second.instructions
    assert second.talk == (*first.talk, Called("Let me look.", (CALL,)), Returned("c1", "look", "seen"))


async def test_calls_of_a_try_that_is_void_are_not_made() -> None:
    llm = ScriptedLLM([Text("a"), CALL, Void(), Text("b")])
    assert await played(llm, asking("?!")) == [Delta("a"), Cleared(), Delta("b"), Answered("b")]


async def test_near_a_limit_it_may_call_no_more() -> None:
    left = [True, False]
    llm = ScriptedLLM([CALL], [Text("That is all."), CALL])
    seen = await played(llm, asking("Go on."), lambda: left.pop(0))
    assert seen[-1] == Answered("That is all.")
    assert [prompt.may_call for prompt in llm.prompts] == [True, False]
    assert llm.prompts[1].tools == (LOOK,), "some wires refuse a talk about tools that they are not shown"
    assert llm.prompts[1].instructions.endswith(LAST) and LAST not in llm.prompts[0].instructions


async def test_one_that_only_calls_where_it_may_not_has_given_no_answer() -> None:
    with pytest.raises(LLMError) as raised:
        await played(ScriptedLLM([Text(" "), CALL]), asking("Go on."), lambda: False)
    assert raised.value.code == "llm_empty"


@pytest.mark.parametrize(
    "hello", ["Hi", "hello!", "Hello there", "你好", "您好！", "Danke schön!", "thank you", "Hallo zusammen", "hey @ai"]
)
async def test_a_greeting_goes_without_tools(hello: str) -> None:
    llm = ScriptedLLM([Text("Hello!")])
    assert await played(llm, asking(hello)) == [Delta("Hello!"), Answered("Hello!")]
    assert llm.prompts[0].tools == () and llm.prompts[0].instructions == ""


@pytest.mark.parametrize(
    "text",
    [
        "Hi, cancel order 7",
        "hello refund",
        "thanks, now cancel it",
        "你好，帮我取消订单",
        "Hi?" + " please" * 20,
        "yes",
        "ok",
        "",
    ],
)
def test_what_asks_for_something_is_no_mere_greeting(text: str) -> None:
    assert not is_greeting(asking(text))


def test_what_tools_returned_is_no_greeting() -> None:
    assert not is_greeting(Prompt("", (Said("user", "?"), Called("", (CALL,)), Returned("c1", "look", "hello"))))


async def test_closing_it_while_it_acts_closes_everything() -> None:
    llm = ScriptedLLM([CALL])
    mode = react(Work(asking("Go on."), llm, lambda: None, (LOOK,)))
    assert await mode.asend(None) == Acts("", (CALL,))
    await mode.aclose()
    assert llm.closed == 1
