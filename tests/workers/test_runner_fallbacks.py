"""A run with more than one LLM, and what its calls cost."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from chat.database import reading, writing
from chat.models import Agent, Usage
from tests.inside import Talk
from tests.workers.process import UNAVAILABLE, LedLLM, answering, answers, over, shown, until_asked, until_row
from workers import runner
from workers.llm.base import LLMError, Spent
from workers.runtime import Runtime


async def test_a_broken_answer_is_void_and_the_next_llms_is_shown_from_the_start(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any, settings: Any
) -> None:
    settings.CHAT_LLM, settings.CHAT_FALLBACKS = "main", ["next"]
    held = await answering(talk, runtime)
    llm.say("void")
    await shown(held.run, "void", redis)
    llm.fail(LLMError("llm_rejected", "No.", fault="auth"))
    await until_asked(llm, 2)
    llm.say("Good")
    await shown(held.run, "Good", redis)
    llm.end(Spent(11, 4))
    await over(runtime)
    row = await until_row(held.run, status="succeeded", llm="next", fallback_status="recovery", output_tokens=5)
    assert await answers() == ["Good"]
    rows = Usage.objects.filter(run_id=row.pk).order_by("llm")
    assert await reading(lambda: list(rows.values_list("llm", "output_tokens", "cost_usd"))) == [
        ("main", 1, None),
        ("next", 4, None),
    ]
    assert row.input_tokens == await reading(lambda: sum(rows.values_list("input_tokens", flat=True)))


async def test_an_agent_may_have_fallbacks_of_its_own_or_none(
    talk: Talk, runtime: Runtime, llm: LedLLM, settings: Any
) -> None:
    settings.CHAT_FALLBACKS = ["next"]
    await writing(lambda: Agent.objects.create(name="alone", llm="main", fallbacks=[]))
    held = await answering(talk, runtime, agent="alone")
    llm.fail(UNAVAILABLE)
    await over(runtime)
    await until_row(held.run, status="failed", llm="main", fallback_status=None)
    assert len(llm.prompts) == 1


async def test_the_text_for_emergencies_takes_the_place_of_what_was_shown(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any, settings: Any
) -> None:
    settings.CHAT_EMERGENCY_TEXT = "Please call us."
    held = await answering(talk, runtime)
    llm.say("half an ans")
    await shown(held.run, "half an ans", redis)
    llm.fail(UNAVAILABLE)
    await over(runtime)
    row = await until_row(held.run, status="succeeded", fallback_status="emergency", error=runner.told(UNAVAILABLE))
    assert await answers() == ["Please call us."]
    assert row.output_tokens == 3


async def test_what_a_call_cost_is_priced_by_the_operators_table(
    talk: Talk, runtime: Runtime, llm: LedLLM, settings: Any, tmp_path: Path
) -> None:
    table = tmp_path / "prices.toml"
    table.write_text('["mine"]\ninput = 1000\noutput = 2000\n')
    settings.CHAT_LLM, settings.CHAT_PRICES = "mine", str(table)
    held = await answering(talk, runtime)
    llm.say("Hello!")
    llm.end(Spent(3, 2))
    await over(runtime)
    await until_row(held.run, status="succeeded", cost_usd=Decimal("0.007"))
