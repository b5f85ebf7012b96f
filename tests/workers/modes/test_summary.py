"""The rolling summary: what the model is asked, and what is made of its answer."""

import pytest

from tests.llm_process import LLMProcess
from tests.workers.scripted import ScriptedLLM
from workers.llm import close_clients, open_llm
from workers.llm.base import SUMMARY_INSTRUCTIONS, Limits, LLMError, Reasoning, Said, Spent, Text, Void
from workers.modes.summary import summarise

TALK = [
    Said("user", "Ada owns the budget of 1,200 euros."),
    Said("assistant", "Noted."),
    Said("user", "It is due Friday."),
]


async def test_the_model_gets_the_old_summary_and_the_talk_as_one_text() -> None:
    llm = ScriptedLLM([Reasoning("hm"), Text(" - Ada "), Text("owns it.\n"), Spent(9, 3)])
    assert await summarise(llm, "- The code word is amaranth-77.", TALK) == "- Ada owns it."
    (prompt,) = llm.prompts
    assert prompt.instructions == SUMMARY_INSTRUCTIONS
    (said,) = prompt.talk
    assert said.role == "user"
    for text in ("- The code word is amaranth-77.", *(line.text for line in TALK)):
        assert said.text.count(text) == 1
    assert said.text.index("amaranth") < said.text.index("Ada") < said.text.index("Friday")
    assert llm.closed == 1


async def test_a_summary_without_a_word_is_an_error_and_replaces_nothing() -> None:
    with pytest.raises(LLMError) as caught:
        await summarise(ScriptedLLM([Text("  \n")]), "- An old fact.", TALK)
    assert caught.value.code == "llm_empty"


async def test_a_try_that_broke_off_is_no_part_of_the_summary() -> None:
    assert await summarise(ScriptedLLM([Text("Ada ow"), Void(), Text("Ada owns it.")]), "", TALK) == "Ada owns it."


async def test_a_failure_is_passed_on() -> None:
    failure = LLMError("llm_unavailable", "It failed.", temporary=True)
    with pytest.raises(LLMError) as caught:
        await summarise(ScriptedLLM([Text("half"), failure]), "", TALK)
    assert caught.value is failure


async def test_over_http_every_sentence_gets_to_the_model_and_back(llm_server: LLMProcess) -> None:
    llm = open_llm("openai:summary-aware", Limits(), env=llm_server.env)
    summary = await summarise(llm, "- The code word is amaranth-77.", TALK)
    await close_clients()
    for fact in ("amaranth-77", "Ada owns the budget of 1,200 euros.", "It is due Friday."):
        assert fact in summary
