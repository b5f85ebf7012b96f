"""Time limits around any model, and clean text from any model."""

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from chat.protocol.commands import ARGS_MAX
from tests.processes import PATIENCE
from tests.workers.scripted import ScriptedLLM, asking, keep, read
from workers.llm.base import Coming, Limits, LLMError, Piece, Prompt, Reasoning, Spent, Text, ToolCall
from workers.llm.guarded import ARGS_KEPT, CleanText, Deadline, Guarded
from workers.tools import load_tools
from workers.tools.base import BadArgs

SHORT = Limits(first_token_s=0.15, between_tokens_s=0.15, total_s=0.5)


async def failure_of(llm: ScriptedLLM, limits: Limits) -> tuple[LLMError, list[Piece], float]:
    seen: list[Piece] = []
    began = time.monotonic()
    with pytest.raises(LLMError) as caught:
        await keep(seen, Guarded(llm, limits).stream(asking("?")))
    return caught.value, seen, time.monotonic() - began


async def test_a_model_that_never_starts_is_given_up_after_the_first_limit() -> None:
    llm = ScriptedLLM([9.0, Text("late")])
    error, seen, took_s = await failure_of(llm, Limits(first_token_s=0.15, between_tokens_s=5, total_s=5))
    assert (error.code, error.temporary, seen) == ("llm_timeout", True, [])
    assert 0.15 <= took_s < 0.4 * PATIENCE
    assert llm.closed == 1


async def test_a_model_that_stops_half_way_is_given_up_after_the_second_limit() -> None:
    llm = ScriptedLLM([Text("a"), 9.0, Text("late")])
    error, seen, took_s = await failure_of(llm, Limits(first_token_s=5, between_tokens_s=0.15, total_s=5))
    assert (error.code, error.temporary, seen) == ("llm_timeout", True, [Text("a")])
    assert 0.15 <= took_s < 0.4 * PATIENCE
    assert llm.closed == 1


async def test_a_model_that_never_ends_is_stopped_after_the_total_and_is_not_worth_another_try() -> None:
    llm = ScriptedLLM([step for number in range(100) for step in (Text(f"{number} "), 0.05)])
    error, seen, took_s = await failure_of(llm, SHORT)
    assert (error.code, error.temporary) == ("run_too_long", False)
    assert 0.5 <= took_s < 0.8 * PATIENCE
    assert 1 < len(seen) <= 11
    assert llm.closed == 1


async def test_the_total_ends_the_last_wait_too() -> None:
    llm = ScriptedLLM([Text("a"), 9.0])
    error, _, took_s = await failure_of(llm, Limits(between_tokens_s=2, total_s=0.2))
    assert error.code == "run_too_long"
    assert 0.2 <= took_s < 0.5 * PATIENCE


async def test_the_total_also_stops_a_model_that_never_waits() -> None:
    llm = ScriptedLLM([Text("x")] * 10_000_000)
    error, _, took_s = await failure_of(llm, Limits(total_s=0.1))
    assert error.code == "run_too_long"
    assert took_s < 1 * PATIENCE


async def test_the_time_that_the_reader_takes_is_not_the_models() -> None:
    llm = ScriptedLLM([Text("a"), Text("b")])
    seen = []
    async for piece in Guarded(llm, Limits(first_token_s=0.1, between_tokens_s=0.1, total_s=5)).stream(asking("?")):
        seen.append(piece)
        await asyncio.sleep(0.2)
    assert seen == [Text("a"), Text("b")]


async def test_a_limit_of_zero_is_none() -> None:
    llm = ScriptedLLM([0.05, Text("a"), 0.05, Text("b")])
    assert await read(Guarded(llm, Limits(0, 0, 0, 0)), asking("?")) == [Text("a"), Text("b")]


async def test_a_time_out_inside_the_model_is_not_taken_for_ours() -> None:
    class Broken:
        name = "broken"

        async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
            if prompt.talk:
                raise TimeoutError("its own")
            yield Text("")

    with pytest.raises(TimeoutError, match="its own"):
        await read(Guarded(Broken(), Limits()), asking("?"))


async def test_a_call_that_takes_long_to_write_is_no_silence() -> None:
    call = ToolCall("c1", "save", '{"text": "' + "word " * 6 + '"}')
    llm = ScriptedLLM([step for _ in range(6) for step in (0.1, Coming("word "))] + [call])
    seen = await read(Guarded(llm, Limits(first_token_s=0.4, between_tokens_s=0.4, total_s=5)), asking("Save it."))
    assert seen[-1] == call


@pytest.mark.parametrize("piece", [Text("1234"), Reasoning("1234"), Coming("1234")])
async def test_a_model_that_writes_too_much_is_stopped_and_is_not_worth_another_try(piece: Piece) -> None:
    llm = ScriptedLLM([piece] * 1000)
    error, seen, _ = await failure_of(llm, Limits(answer_chars=10))
    assert (error.code, error.temporary, seen) == ("run_too_long", False, [piece] * 3)
    assert "10 characters" in error.message
    assert llm.closed == 1
    assert len(await read(Guarded(ScriptedLLM([piece] * 1000), Limits(answer_chars=0)), asking("?"))) == 1000


async def test_of_arguments_that_no_tool_takes_no_more_is_kept_than_shows_that() -> None:
    call = ToolCall("c1", "save", '{"text": "' + "w" * 1_000_000 + '"}')
    [kept] = await read(Guarded(ScriptedLLM([call]), Limits()), asking("Save it."))
    assert isinstance(kept, ToolCall) and len(kept.args_json) == ARGS_KEPT > ARGS_MAX
    with pytest.raises(BadArgs, match="longer than"):
        load_tools()["ask_human"].read_args(kept.args_json)


@pytest.mark.parametrize("also_cancelled", [False, True])
async def test_who_is_cancelled_just_when_time_is_up_is_cancelled_and_not_told_of_a_time_out(
    also_cancelled: bool,
) -> None:
    made: list[Deadline] = []
    ended: list[bool] = []

    async def wait() -> None:
        made.append(deadline := Deadline())
        deadline.begin(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            ended.append(deadline.has_ended())
            if not ended[0]:
                raise

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    if also_cancelled:
        task.cancel()
    made[0]._look()
    await asyncio.wait([task])
    assert ended == [not also_cancelled]
    assert task.cancelled() is also_cancelled


async def test_a_model_that_goes_on_after_its_time_was_up_leaves_nobody_cancelled() -> None:
    class Stubborn:
        name = "stubborn"

        async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
            for _ in range(2):
                try:
                    await asyncio.sleep(9)
                except asyncio.CancelledError:
                    yield Text("all the same")

    assert await read(Guarded(Stubborn(), Limits(0.05, 0.05, 5)), asking("?")) == [Text("all the same")] * 2
    task = asyncio.current_task()
    assert task is not None and not task.cancelling()


async def test_the_second_limit_holds_where_the_first_was_longer_and_long_not_reached() -> None:
    llm = ScriptedLLM([Text("a"), 0.05, Text("b"), 9.0])
    error, seen, took_s = await failure_of(llm, Limits(first_token_s=9, between_tokens_s=0.2, total_s=20))
    assert (error.code, seen) == ("llm_timeout", [Text("a"), Text("b")])
    assert 0.25 <= took_s < 0.6 * PATIENCE


async def test_closing_the_guarded_stream_closes_the_models_at_once() -> None:
    llm = ScriptedLLM([Text("a"), Text("b")])
    stream = Guarded(llm, Limits()).stream(asking("?"))
    assert await anext(stream) == Text("a")
    await stream.aclose()
    assert llm.closed == 1


async def test_cancelling_the_reader_closes_the_models_stream() -> None:
    llm = ScriptedLLM([Text("a"), 9.0])
    task = asyncio.create_task(read(Guarded(llm, Limits()), asking("?")))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert llm.closed == 1


async def test_nuls_go_halves_of_characters_wait_for_their_other_half_and_no_piece_is_empty() -> None:
    pieces: list[Piece | float | LLMError] = [
        Text("a\0b"),
        Text("\0"),
        Text("Fire \ud83d"),
        Text("\udd25!"),
        Spent(3, 4),
        Text("\ud83d"),
    ]
    seen = await read(Guarded(ScriptedLLM(pieces), Limits()), asking("?"))
    assert seen == [Text("ab"), Text("Fire "), Text("🔥!"), Text("\ufffd"), Spent(3, 4)]


async def test_nuls_go_from_what_a_tool_is_called_with_too() -> None:
    call = ToolCall("c1", "look", '{"text": "a\0b"}')
    [seen] = await read(Guarded(ScriptedLLM([call]), Limits()), asking("?"))
    assert seen == ToolCall("c1", "look", '{"text": "ab"}')


async def test_answer_and_reasoning_each_keep_their_own_half() -> None:
    pieces: list[Piece | float | LLMError] = [
        Text("\ud83d"),
        Reasoning("\ud83d"),
        Text("\udd25"),
        Reasoning("\ude92"),
        Reasoning(""),
    ]
    seen = await read(Guarded(ScriptedLLM(pieces), Limits()), asking("?"))
    assert seen == [Text("🔥"), Reasoning("🚒")]


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_clean_text_is_the_same_however_it_was_cut(step: int) -> None:
    units = "Zoë 🔥🚒\0 naïve 数据库 \ud83d lone \udd25 end 🧯".encode("utf-16-le", "surrogatepass")
    clean = CleanText()
    shown = "".join(
        clean.feed(units[at : at + 2 * step].decode("utf-16-le", "surrogatepass"))
        for at in range(0, len(units), 2 * step)
    )
    shown += clean.rest()
    assert shown == "Zoë 🔥🚒 naïve 数据库 \ufffd lone \ufffd end 🧯"
    shown.encode()
