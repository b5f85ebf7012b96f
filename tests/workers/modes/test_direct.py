"""The direct mode: one call, and nothing of a void try left on the screen."""

import asyncio
import tracemalloc
from collections.abc import AsyncGenerator

import pytest

from tests.workers.scripted import ScriptedLLM, asking, keep
from workers.llm.base import (
    LLM,
    Cut,
    LLMError,
    Piece,
    Prompt,
    Reasoning,
    Spent,
    Stopped,
    StopReason,
    Text,
    ToolCall,
    Void,
)
from workers.llm.chain import Chain
from workers.modes import MODES, open_mode
from workers.modes.base import Answered, Cleared, Delta, ReasoningDelta, Work, Yield
from workers.modes.direct import direct


async def outcome_of(llm: LLM, question: str = "?") -> tuple[list[Yield], LLMError | None]:
    seen: list[Yield] = []
    try:
        await keep(seen, direct(Work(asking(question), llm, lambda: None)))
    except LLMError as error:
        return seen, error
    return seen, None


async def test_what_the_model_says_is_shown_and_then_answered() -> None:
    llm = ScriptedLLM([Reasoning("hm "), Reasoning("ok"), Text("Yes"), Text("."), Stopped("end"), Spent(3, 2)])
    assert await outcome_of(llm) == (
        [ReasoningDelta("hm "), ReasoningDelta("ok"), Delta("Yes"), Delta("."), Answered("Yes.", "hm ok")],
        None,
    )


async def test_what_is_void_is_cleared_and_no_part_of_the_answer() -> None:
    llm = ScriptedLLM([Reasoning("x"), Text("Ye"), Void(), Text("No")])
    seen, _ = await outcome_of(llm)
    assert seen == [ReasoningDelta("x"), Delta("Ye"), Cleared(), Delta("No"), Answered("No")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("reason", "cut"), [("end", None), ("tools", None), ("length", "length"), ("refused", "refused")]
)
async def test_an_answer_that_was_cut_says_so(mode: str, reason: StopReason, cut: Cut | None) -> None:
    work = Work(asking("?"), ScriptedLLM([Text("Half"), Stopped(reason)]), lambda: None)
    *_, answered = [one async for one in open_mode(mode)(work)]
    assert answered == Answered("Half", cut=cut)


async def test_one_that_only_calls_what_it_was_not_offered_has_given_no_answer() -> None:
    seen, error = await outcome_of(ScriptedLLM([Text(" "), ToolCall("1", "look", "{}")]))
    assert (seen, error and error.code) == ([Delta(" ")], "llm_empty")


async def test_that_a_void_try_was_cut_says_nothing_of_the_answer() -> None:
    seen, _ = await outcome_of(ScriptedLLM([Text("Ha"), Stopped("length"), Void(), Text("Whole")]))
    assert seen[-1] == Answered("Whole")


async def test_an_error_of_the_model_is_the_modes() -> None:
    error = LLMError("llm_timeout", "It failed.", temporary=True)
    assert await outcome_of(ScriptedLLM([Text("a"), error])) == ([Delta("a")], error)


async def test_a_check_that_raises_ends_the_answer_and_closes_the_model() -> None:
    class StoppedError(Exception):
        pass

    llm = ScriptedLLM([Text("a"), Text("b"), Text("c")], [Text("never asked for")])
    seen: list[Yield] = []

    def check() -> None:
        if len(seen) == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        await keep(seen, direct(Work(asking("?"), llm, check)))
    assert seen == [Delta("a"), Delta("b")]
    assert llm.closed == 1
    assert len(llm.prompts) == 1


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_ending_the_mode_closes_the_model(how: str) -> None:
    llm = ScriptedLLM([Text("a"), 9.0])
    work = direct(Work(asking("?"), llm, lambda: None))
    assert await anext(work) == Delta("a")
    if how == "closed":
        await work.aclose()
    else:
        reading = asyncio.ensure_future(anext(work))
        await asyncio.sleep(0.02)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert llm.closed == 1


class Endless:
    """Says numbered words, and keeps none."""

    name = "demo"

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        number = 0
        while True:
            yield Text(f" w{(number := number + 1)}")


@pytest.mark.parametrize("mode", MODES)
async def test_a_long_answer_is_held_as_texts_and_not_as_tokens(mode: str) -> None:
    """Of 400 answers at once, the tokens of one minute would fill 70 MB."""
    work = open_mode(mode)(Work(asking("?"), Chain(["demo"], lambda _: Endless()), lambda: None))
    await anext(work)
    said = 0
    tracemalloc.start()
    try:
        async for one in work:
            assert isinstance(one, Delta)
            said += len(one.text)
            if said > 50_000:
                break
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4 * said, f"{held / said:.1f} bytes a character"
    await work.aclose()


def test_the_mode_is_found_by_its_name_and_no_other() -> None:
    assert open_mode("direct") is direct is MODES["direct"]
    with pytest.raises(ValueError, match="direct"):
        open_mode("Direct")
