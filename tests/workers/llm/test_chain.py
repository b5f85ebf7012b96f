"""Several models that answer as one: who is asked next, what is void, and what each call cost."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.llm_process import LLMProcess
from tests.processes import PATIENCE
from tests.workers.scripted import ScriptedLLM, asking, keep
from workers.llm import chain as chains
from workers.llm import close_clients, open_llm
from workers.llm.base import (
    LLM,
    Coming,
    ErrorCode,
    Fault,
    Limits,
    LLMError,
    Piece,
    Prompt,
    Reasoning,
    Spent,
    Stopped,
    Text,
    ToolCall,
    ToolSpec,
    Void,
    empty_answer,
    estimate_prompt,
)
from workers.llm.chain import Call, Chain

Script = Sequence[Piece | float | LLMError]
QUESTION = asking("a question")
LOOK = ToolSpec("look", "Look.", {"type": "object", "properties": {}})


def failed(fault: Fault = "temporary", code: ErrorCode = "llm_unavailable", after_s: float | None = 0.0) -> LLMError:
    return LLMError(code, "It failed.", fault=fault, retry_after_s=after_s)


class Models:
    """Models by name, the calls that were accounted for, and the chain over them."""

    def __init__(self, *scripts: tuple[str, Script], emergency_text: str = "", total_s: float = 0) -> None:
        self.asked: list[str] = []
        self.calls: list[Call] = []
        self._scripts = list(scripts)
        names = [name for name, _ in scripts]
        self.opened: list[ScriptedLLM] = []
        self.chain = Chain(names, self._open, on_call=self.calls.append, emergency_text=emergency_text, total_s=total_s)

    def _open(self, name: str) -> LLM:
        self.asked.append(name)
        expected, script = self._scripts.pop(0)
        assert expected == name
        self.opened.append(ScriptedLLM(script))
        return self.opened[-1]

    async def answer(self, prompt: Prompt = QUESTION) -> tuple[list[Piece], LLMError | None]:
        seen: list[Piece] = []
        try:
            await keep(seen, self.chain.stream(prompt))
        except LLMError as error:
            return seen, error
        finally:
            assert all(llm.closed == 1 for llm in self.opened)
        return seen, None


# --- who is asked -----------------------------------------------------------------------------------------------------


async def test_the_main_model_answers_and_nothing_is_said_of_the_others() -> None:
    models = Models(("main", [Reasoning("hm"), Text("Yes"), Stopped("end"), Spent(3, 2)]), ("next", []))
    assert await models.answer() == ([Reasoning("hm"), Text("Yes"), Stopped("end")], None)
    assert (models.asked, models.chain.fallback_status, models.chain.name) == (["main"], None, "main")
    assert models.calls == [Call("main", Spent(3, 2))]


async def test_what_is_temporary_is_tried_once_more_and_then_the_next_has_its_turn() -> None:
    models = Models(
        ("main", [Text("Ye"), failed()]), ("main", [Reasoning("x"), failed(code="llm_timeout")]), ("next", [Text("No")])
    )
    assert await models.answer() == ([Text("Ye"), Void(), Reasoning("x"), Void(), Text("No")], None)
    assert (models.chain.fallback_status, models.chain.name) == ("recovery", "next")
    assert [call.llm for call in models.calls] == ["main", "main", "next"]


async def test_what_is_asked_next_is_tried_once_more_too() -> None:
    models = Models(("main", [failed()]), ("main", [failed()]), ("next", [failed()]), ("next", [Text("Yes")]))
    assert await models.answer() == ([Text("Yes")], None)


async def test_a_retry_that_works_is_no_recovery_and_voids_only_what_was_shown() -> None:
    models = Models(("main", [failed()]), ("main", [Text("Yes")]))
    assert await models.answer() == ([Text("Yes")], None)
    assert models.chain.fallback_status is None


@pytest.mark.parametrize("fault", ["auth", "unknown", "context"])
async def test_what_a_retry_cannot_help_is_the_next_ones_at_once(fault: Fault) -> None:
    models = Models(("main", [failed(fault, "llm_rejected")]), ("next", [Text("Yes")]))
    assert await models.answer() == ([Text("Yes")], None)
    assert models.asked == ["main", "next"]


@pytest.mark.parametrize("error", [failed("validation", "llm_rejected"), failed("unknown", "run_too_long")])
async def test_what_no_model_can_help_is_the_end_even_with_a_text_for_emergencies(error: LLMError) -> None:
    models = Models(("main", [Text("a"), error]), ("next", [Text("Yes")]), emergency_text="Sorry.")
    assert await models.answer() == ([Text("a")], error)
    assert models.chain.fallback_status is None


async def test_when_all_have_failed_the_last_error_is_told() -> None:
    last = failed("auth", "llm_rejected")
    models = Models(("main", [failed()]), ("main", [failed()]), ("next", [last]))
    assert await models.answer() == ([], last)


async def test_when_all_have_failed_the_text_for_emergencies_is_the_answer() -> None:
    last = failed("unknown", "llm_rejected")
    models = Models(("main", [Text("half"), last]), emergency_text="Sorry, nobody is there.")
    assert await models.answer() == ([Text("half"), Void(), Text("Sorry, nobody is there.")], None)
    assert (models.chain.fallback_status, models.chain.error) == ("emergency", last)


@pytest.mark.parametrize("nothing", [[], [Text(" "), Text("\n")], [Reasoning("only thoughts")]])
async def test_an_answer_without_a_word_is_a_failure_that_may_pass(nothing: Script) -> None:
    models = Models(("main", nothing), ("main", nothing), ("next", [Text("Yes")]))
    chains_retry = chains._RETRY_AFTER_S
    assert chains_retry <= 0.5
    seen, error = await models.answer()
    assert (seen[-1], error) == (Text("Yes"), None)
    assert (empty_answer().code, empty_answer().fault) == ("llm_empty", "temporary")


async def test_a_call_of_a_tool_is_an_answer_without_a_word() -> None:
    models = Models(("main", [ToolCall("1", "look", "{}"), Stopped("tools")]))
    offered = replace(QUESTION, tools=(LOOK,))
    assert await models.answer(offered) == ([ToolCall("1", "look", "{}"), Stopped("tools")], None)


@pytest.mark.parametrize("prompt", [QUESTION, replace(QUESTION, tools=(LOOK,), may_call=False)])
async def test_a_call_of_a_tool_that_was_not_offered_is_none(prompt: Prompt) -> None:
    call = ToolCall("1", "look", "{}")
    models = Models(("main", [call]), ("main", [call]), ("next", [Text("Yes")]))
    assert await models.answer(prompt) == ([call, Void(), call, Void(), Text("Yes")], None)


async def test_it_stays_with_the_one_that_answered() -> None:
    """A mode with many calls does not wait for the dead one each time."""
    models = Models(("main", [failed("auth")]), ("next", [Text("One")]), ("next", [Text("Two")]))
    await models.answer()
    assert await models.answer() == ([Text("Two")], None)
    assert models.asked == ["main", "next", "next"]


async def test_the_retry_waits_as_long_as_it_is_asked_to_but_no_longer_than_five_seconds() -> None:
    began = time.monotonic()
    await Models(("main", [failed(after_s=0.3)]), ("main", [Text("Yes")])).answer()
    assert 0.3 <= time.monotonic() - began < 0.6 * PATIENCE
    models = Models(("main", [failed(after_s=5.1)]), ("next", [Text("Yes")]))
    assert await models.answer() == ([Text("Yes")], None), "who asks for more is not waited for"
    assert models.asked == ["main", "next"]


async def test_nobody_is_asked_when_the_time_is_over() -> None:
    late = failed(after_s=0.0)
    models = Models(("main", [0.2, late]), ("next", [Text("Yes")]), total_s=0.1)
    assert await models.answer() == ([], late)


async def test_a_model_that_cannot_be_opened_is_passed_over_and_its_operator_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = ScriptedLLM([Text("Yes")])

    def open_named(name: str) -> LLM:
        if name == "bad":
            raise failed("unknown", "llm_rejected")
        return good

    seen: list[Piece] = []
    with caplog.at_level(logging.ERROR):
        await keep(seen, Chain(["bad", "bad", "good"], open_named).stream(asking("?")))
    assert seen == [Text("Yes")]
    assert [record.levelname for record in caplog.records] == ["ERROR"], "a name counts once"


# --- what it cost -----------------------------------------------------------------------------------------------------


async def test_what_was_written_of_a_call_is_estimated_too() -> None:
    """As it is shown to nobody, it makes no void either."""
    models = Models(("main", [Coming("abcd"), Coming("efgh"), failed("auth")]), ("next", [Text("Yes"), Spent(1, 1)]))
    assert await models.answer() == ([Text("Yes")], None)
    assert models.calls == [Call("main", Spent(3, 2)), Call("next", Spent(1, 1))]


async def test_a_call_whose_pieces_were_seen_is_estimated_once() -> None:
    call = ToolCall("1", "look", "abcdefgh")
    models = Models(("main", [Coming("abcd"), Coming("efgh"), call]), ("main", [call]))
    for _ in range(2):
        assert await models.answer(replace(QUESTION, tools=(LOOK,))) == ([call], None)
    read = estimate_prompt(replace(QUESTION, tools=(LOOK,)))
    assert models.calls == [Call("main", Spent(read, 2))] * 2


async def test_a_call_that_broke_off_is_estimated_and_one_that_never_began_cost_nothing() -> None:
    models = Models(("main", [Reasoning("abcd"), Text("efgh"), failed("auth")]), ("next", [failed("auth")]))
    await models.answer()
    assert models.calls == [Call("main", Spent(3, 2)), Call("next", Spent(0, 0))]


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_a_call_that_nobody_wants_any_more_is_closed_and_accounted_for(how: str) -> None:
    models = Models(("main", [Text("abcdefgh"), 9.0]))
    stream = models.chain.stream(asking("a question"))
    assert await anext(stream) == Text("abcdefgh")
    if how == "closed":
        await stream.aclose()
    else:
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.02)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert models.opened[0].closed == 1
    assert models.calls == [Call("main", Spent(3, 2))]


# --- over HTTP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "requests", "is_void", "answer"),
    [
        (["cut-once-after-5"], 2, True, "t1 t2 t3 t4 t5 "),
        (["429-once"], 2, False, "over HTTP 429-once"),
        (["cut-after-5", "tokens-3@0"], 3, True, "t1 t2 t3 "),
        (["401", "tokens-3@0"], 2, False, "t1 t2 t3 "),
        (["too-long", "tokens-3@0"], 2, False, "t1 t2 t3 "),
        (["400", "tokens-3@0"], 1, False, None),
    ],
)
async def test_over_http_each_failure_costs_its_requests(
    llm_server: LLMProcess, names: list[str], requests: int, is_void: bool, answer: str | None
) -> None:
    question = f"over HTTP {names[0]}"
    chain = Chain([f"openai:{name}" for name in names], lambda name: open_llm(name, Limits(), env=llm_server.env))
    seen: list[Piece] = []
    try:
        await keep(seen, chain.stream(asking(question)))
    except LLMError:
        assert answer is None
    await close_clients()
    assert len(llm_server.requests_with(question)) == requests
    assert (Void() in seen) is is_void
    after = seen[len(seen) - seen[::-1].index(Void()) :] if is_void else seen
    assert "".join(piece.text for piece in after if isinstance(piece, Text)) == (answer or "")
