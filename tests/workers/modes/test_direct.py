"""The direct mode: one call, one retry of what is temporary, and nothing of a failed try left on the screen."""

import asyncio
import time

import pytest

from tests.llm_process import LLMProcess
from tests.processes import PATIENCE
from tests.workers.scripted import ScriptedLLM, asking, keep
from workers.llm import close_clients, open_llm
from workers.llm.base import LLM, ErrorCode, Limits, LLMError, Piece, Reasoning, Spent, Text
from workers.modes import MODES, open_mode
from workers.modes.base import Answered, Cleared, Delta, ReasoningDelta, Work, Yield
from workers.modes.direct import direct


def failed(code: ErrorCode = "llm_unavailable", *, temporary: bool = True, after_s: float | None = 0.0) -> LLMError:
    return LLMError(code, "It failed.", temporary=temporary, retry_after_s=after_s)


async def outcome_of(llm: LLM, question: str = "?") -> tuple[list[Yield], LLMError | None]:
    seen: list[Yield] = []
    try:
        await keep(seen, direct(Work(asking(question), llm, lambda: None)))
    except LLMError as error:
        return seen, error
    return seen, None


async def test_what_the_model_says_is_shown_and_then_answered() -> None:
    llm = ScriptedLLM([Reasoning("hm "), Reasoning("ok"), Text("Yes"), Text("."), Spent(3, 2)])
    assert await outcome_of(llm) == (
        [ReasoningDelta("hm "), ReasoningDelta("ok"), Delta("Yes"), Delta("."), Spent(3, 2), Answered("Yes.", "hm ok")],
        None,
    )


async def test_a_retry_clears_what_was_shown_and_answers_with_the_second_try_alone() -> None:
    llm = ScriptedLLM([Reasoning("x"), Text("Ye"), failed()], [Text("No")])
    seen, error = await outcome_of(llm)
    assert seen == [ReasoningDelta("x"), Delta("Ye"), Cleared(), Delta("No"), Answered("No")]
    assert error is None
    assert llm.prompts[0] is llm.prompts[1]
    assert llm.closed == 2


async def test_a_retry_before_anything_was_shown_clears_nothing() -> None:
    assert await outcome_of(ScriptedLLM([failed()], [Text("Yes")])) == ([Delta("Yes"), Answered("Yes")], None)


async def test_there_is_one_retry_and_no_more() -> None:
    llm = ScriptedLLM([failed()], [Text("a"), failed("llm_timeout")], [Text("never asked for")])
    seen, error = await outcome_of(llm)
    assert seen == [Delta("a")]
    assert error is not None
    assert error.code == "llm_timeout"
    assert len(llm.prompts) == 2


@pytest.mark.parametrize("error", [failed("llm_rejected", temporary=False), failed("run_too_long", temporary=False)])
async def test_what_is_not_temporary_is_not_tried_again(error: LLMError) -> None:
    llm = ScriptedLLM([Text("a"), error], [Text("never asked for")])
    assert await outcome_of(llm) == ([Delta("a")], error)


@pytest.mark.parametrize("nothing", [[], [Text(" "), Text("\n")], [Reasoning("only thoughts")]])
async def test_an_answer_without_a_word_is_tried_again_and_then_an_error(nothing: list[Piece]) -> None:
    _, error = await outcome_of(ScriptedLLM(nothing, nothing))
    assert error is not None
    assert (error.code, error.temporary) == ("llm_empty", True)
    seen, error = await outcome_of(ScriptedLLM(nothing, [Text("Yes")]))
    assert seen[-1] == Answered("Yes")
    assert error is None


async def test_the_retry_waits_as_long_as_the_provider_asks_but_no_longer_than_five_seconds() -> None:
    began = time.monotonic()
    await outcome_of(ScriptedLLM([failed(after_s=0.3)], [Text("Yes")]))
    assert 0.3 <= time.monotonic() - began < 0.6 * PATIENCE
    llm = ScriptedLLM([failed(after_s=5.1)], [Text("never asked for")])
    _, error = await outcome_of(llm)
    assert error is not None
    assert error.retry_after_s == 5.1
    assert len(llm.prompts) == 1


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


def test_the_mode_is_found_by_its_name_and_no_other() -> None:
    assert open_mode("direct") is direct is MODES["direct"]
    with pytest.raises(ValueError, match="direct"):
        open_mode("Direct")


@pytest.mark.parametrize(
    ("behaviour", "cleared", "answer"),
    [("cut-once-after-5", True, "t1 t2 t3 t4 t5 "), ("429-once", False, "over HTTP 429-once"), ("empty", False, None)],
)
async def test_over_http_a_failure_costs_one_more_request(
    llm_server: LLMProcess, behaviour: str, cleared: bool, answer: str | None
) -> None:
    llm = open_llm(f"openai:{behaviour}", Limits(), env=llm_server.env)
    seen, error = await outcome_of(llm, f"over HTTP {behaviour}")
    await close_clients()
    assert len(llm_server.requests_with(f"over HTTP {behaviour}")) == 2
    assert (Cleared() in seen) is cleared
    if answer is None:
        assert error is not None
        assert error.code == "llm_empty"
    else:
        assert seen[-1] == Answered(answer)
        after = seen[seen.index(Cleared()) :] if cleared else seen
        assert "".join(item.text for item in after if isinstance(item, Delta)) == answer
