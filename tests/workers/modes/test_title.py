"""A talk's name: what the model is asked, and what is made of what it writes."""

import pytest

from tests.workers.scripted import ScriptedLLM
from workers.llm import open_llm
from workers.llm.base import TITLE_INSTRUCTIONS, Limits, LLMError, Reasoning, Spent, Text, Void
from workers.modes.title import MATERIAL_CHARS, TITLE_CHARS, as_title, find_title


async def test_the_model_gets_the_question_and_the_answer_as_material() -> None:
    llm = ScriptedLLM([Reasoning("hm"), Text("Late "), Text("order\n"), Spent(9, 3)])
    assert await find_title(llm, "Where is my order?" + "x" * 10_000, "It is late.") == "Late order"
    (prompt,) = llm.prompts
    assert prompt.instructions == TITLE_INSTRUCTIONS
    (said,) = prompt.talk
    assert "Where is my order?" in said.text and "It is late." in said.text
    assert len(said.text) < MATERIAL_CHARS + 100
    assert llm.closed == 1


async def test_what_a_broken_try_had_said_is_no_part_of_the_name() -> None:
    assert await find_title(ScriptedLLM([Text("Ord"), Void(), Text("Late order")]), "?", "!") == "Late order"


async def test_a_failure_is_passed_on() -> None:
    failure = LLMError("llm_unavailable", "It failed.", temporary=True)
    with pytest.raises(LLMError):
        await find_title(ScriptedLLM([Text("half"), failure]), "?", "!")


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("Late order", "Late order"),
        ('"Late order."', "Late order"),
        ("**Title: Late order**", "Late order"),
        ("\n\n# Late order\nIt is about an order.", "Late order"),
        ("Titel: „Späte Bestellung“", "Späte Bestellung"),
        ("标题：查询订单。", "查询订单"),
        ("  Late \t order ", "Late order"),
        ("Why is it late?", "Why is it late?"),
        ("", ""),
        (' \n "" \n', ""),
        ("w" * 500, "w" * (TITLE_CHARS - 1) + "…"),
    ],
)
def test_one_plain_line_is_made_of_it(written: str, title: str) -> None:
    assert as_title(written) == title


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("Where is my order 1042?", "Where is my order 1042"),
        ("Hello! My order 1042 has not come. What now?", "My order 1042 has not come"),
        ("@support where is it?", "Where is it"),
        ("hi", "Hi"),
        ("...", "Untitled"),
        ("请帮我查一下订单1042的状态。谢谢！", "请帮我查一下订单1042的状态。谢谢"),
        ("We moved the payments database to another machine and now it is slow", None),
    ],
)
@pytest.mark.parametrize("name", ["demo", "demo?tokens=200&tokens_per_s=1"])
async def test_the_demo_names_a_talk_by_what_it_is_about(question: str, title: str | None, name: str) -> None:
    found = await find_title(open_llm(name, Limits()), question, "I found nothing about that.")
    if title is None:
        title = "We moved the payments database to another…"
    assert found == title
