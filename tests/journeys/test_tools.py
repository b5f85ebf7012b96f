"""Agents that act, over the real wires: loops, calls side by side, an LLM that fails midway, orders in a result."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.aimock import Aimock
from tests.deeds import Deeds
from tests.fold import Fold, Row
from tests.stack import Stack, Workshop
from tests.wire import Client, Person

WIRES = pytest.mark.parametrize("wire", ["openai", "anthropic"])


def employed(deeds: Deeds, stack: Stack, **columns: Any) -> str:
    return deeds.employ(stack, name=f"doer-{uuid4().hex[:6]}", **columns)


async def asked(client: Client, agent: str, content: str) -> tuple[str, str, Fold]:
    session_id = await client.new_session()
    fold = await client.subscribe(session_id)
    return session_id, await client.say(session_id, content, agent=agent), fold


def answer_of(fold: Fold, run_id: str) -> str:
    answer = fold.answer(run_id)
    assert answer is not None, fold.runs[run_id]["error"]
    text: str = answer["content"]
    return text


def calls_in(fold: Fold) -> list[Row]:
    return [one["data"]["tool_call"] for one in fold.messages.values() if one["role"] == "tool"]


@WIRES
@pytest.mark.parametrize("count", [1, 2])
async def test_an_llm_calls_tools_and_answers_with_what_they_gave(
    stack: Stack, ada: Person, deeds: Deeds, wire: str, count: int
) -> None:
    agent = employed(deeds, stack, llm=f"{wire}:tools-{count}", tools=["peek"])
    async with stack.client(ada) as client:
        session_id, run_id, fold = await asked(client, agent, "How many?")
        [run] = await client.ended(session_id, run_id)
        assert run["status"] == "succeeded", run["error"]
        shown = [(one["role"], one["content"]) for one in fold.messages.values()][1:]
        assert shown[0] == ("assistant", "Let me look.")
        assert [role for role, _ in shown] == ["assistant", *["tool"] * count, "assistant"]
        assert answer_of(fold, run_id) == "".join(f"peek {number}. " for number in range(1, count + 1))
        assert [call["result"] for call in calls_in(fold)] == [f"peek {number}" for number in range(1, count + 1)]
        assert len(fold.calls.steps) == 1
        await client.agrees()

        # Asked again, it reads that talk without its calls, which are nobody's words.
        again = await client.say(session_id, "And now?", agent=agent)
        [run] = await client.ended(session_id, again)
        assert run["status"] == "succeeded", run["error"]
        await client.agrees()


@WIRES
@pytest.mark.parametrize(
    ("midway", "llms"),
    [("429-once", 1), ("cut-after-5", 1), ("garbage", 1), ("503", 1), ("quota", 2), ("empty", 1)],
)
async def test_an_llm_that_fails_after_a_step_is_asked_again_and_nothing_is_done_again(
    stack: Stack, ada: Person, deeds: Deeds, wire: str, midway: str, llms: int
) -> None:
    fallbacks = [f"{wire}:tools-1"] if llms > 1 else []
    agent = employed(deeds, stack, llm=f"{wire}:tools-1-then-{midway}", fallbacks=fallbacks, tools=["stamp"])
    before = len(deeds.done("stamp"))
    async with stack.client(ada) as client:
        session_id, run_id, fold = await asked(client, agent, f"Stamp it: {uuid4()}")
        [run] = await client.ended(session_id, run_id)
        assert run["status"] == "succeeded", run["error"]
        assert answer_of(fold, run_id) == "stamp 1. "
        assert run["fallback_status"] == ("recovery" if llms > 1 else None)
        await client.agrees()
    assert len(deeds.done("stamp")) - before == 1


@WIRES
async def test_an_order_in_a_tools_result_does_nothing_that_a_person_did_not_allow(
    stack: Stack, ada: Person, deeds: Deeds, wire: str
) -> None:
    """With an LLM that obeys whatever it reads: what it then asks for waits, and a refusal holds."""
    agent = employed(deeds, stack, llm=f"{wire}:obeys", tools=["lookup", "refund"])
    before = len(deeds.done("refund"))
    async with stack.client(ada) as client:
        session_id, run_id, fold = await asked(client, agent, "What is the state of my order?")
        await client.until(lambda: fold.status(run_id) == "interrupted", "it asks")
        [question] = [row for row in fold.interrupts.values() if row["status"] == "open"]
        assert (question["payload"]["tool"], question["payload"]["args"]) == ("refund", {"number": 666})
        answer = {"interrupt_id": question["interrupt_id"], "answer": {"approved": False, "reason": "No!"}}
        await client.command("interrupt.resolve", **answer)
        [run] = await client.ended(session_id, run_id)
        assert run["status"] == "succeeded", run["error"]
        assert [call["status"] for call in calls_in(fold)] == ["returned", "refused"]
        await client.agrees()
    assert len(deeds.done("refund")) == before


async def test_the_demo_acts_offline_and_asks_before_it_writes(stack: Stack, ada: Person, deeds: Deeds) -> None:
    agent = employed(deeds, stack)
    before = len(deeds.done("refund"))
    async with stack.client(ada) as client:
        session_id, run_id, fold = await asked(client, agent, "Hello!")
        await client.answered(session_id, run_id)
        run_id = await client.say(session_id, "Please refund 12", agent=agent)
        await client.until(lambda: fold.status(run_id) == "interrupted", "it asks")
        assert fold.session["status"] == "interrupted"
        [question] = [row for row in fold.interrupts.values() if row["status"] == "open"]
        answer = {"interrupt_id": question["interrupt_id"], "answer": {"approved": True, "args": {"number": 13}}}
        await client.command("interrupt.resolve", **answer)
        [run] = await client.ended(session_id, run_id)
        assert run["status"] == "succeeded" and "refund 13" in answer_of(fold, run_id)
        await client.agrees()
    assert [deed["number"] for deed in deeds.done("refund")[before:]] == [13]


async def test_at_the_last_step_tools_are_shown_and_may_not_be_called(stack: Stack, ada: Person, deeds: Deeds) -> None:
    agent = employed(deeds, stack, llm="anthropic:obeys", tools=["peek"], run_limit={"steps": 2})
    async with stack.client(ada) as client:
        session_id, run_id, _ = await asked(client, agent, "Go on for ever.")
        [run] = await client.ended(session_id, run_id)
        assert run["error"]["code"] == "llm_empty", "it calls tools all the same, and says nothing"
        requests = [
            one for one in stack.llm_saw("request") if one["model"] == "obeys" and "Go on" in str(one["messages"])
        ]
        assert [one["tool_choice"] for one in requests[:2]] == [None, {"type": "none"}]
        assert all(one["tools"] for one in requests)
        await client.agrees()


# --- a server by others -----------------------------------------------------------------------------------------------

BOTH = [{"name": "peek", "arguments": {"number": number}, "id": f"call_{number}"} for number in (12, 34)]
ONE = [{"name": "refund", "arguments": {"number": 12}, "id": "call_refund"}]
FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "peek at both", "hasToolResult": True}, "response": {"content": "I have seen both."}},
    {"match": {"userMessage": "peek at both"}, "response": {"toolCalls": BOTH}},
    {"match": {"userMessage": "refund it", "hasToolResult": True}, "response": {"content": "That is settled."}},
    {"match": {"userMessage": "refund it"}, "response": {"toolCalls": ONE}},
]


@pytest.fixture(scope="module")
def abroad(workshop: Workshop, deeds: Deeds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server whose LLM is aimock."""
    folder: Path = tmp_path_factory.mktemp("aimock")
    with Aimock(folder, FIXTURES) as llm, Stack(workshop, "sqlite", env=llm.env | deeds.env) as made:
        yield made.start()


@pytest.mark.parametrize("llm", ["openai:o3-mini", "anthropic:claude-sonnet-4-5"])
async def test_another_servers_llm_calls_tools_and_waits_for_people(abroad: Stack, deeds: Deeds, llm: str) -> None:
    agent = employed(deeds, abroad, llm=llm)
    async with abroad.client(abroad.person("ada")) as client:
        session_id, run_id, fold = await asked(client, agent, "Please peek at both")
        [run] = await client.ended(session_id, run_id)
        assert run["status"] == "succeeded", run["error"]
        assert answer_of(fold, run_id) == "I have seen both."
        assert [call["result"] for call in calls_in(fold)] == ["peek 12", "peek 34"]

        session_id, run_id, fold = await asked(client, agent, "Please refund it")
        await client.until(lambda: fold.status(run_id) == "interrupted", "it asks")
        [question] = fold.interrupts.values()
        await client.command("interrupt.resolve", interrupt_id=question["interrupt_id"], answer={"approved": True})
        [run] = await client.ended(session_id, run_id)
        assert run["status"] == "succeeded", run["error"]
        assert answer_of(fold, run_id) == "That is settled."
        assert [call["result"] for call in calls_in(fold)] == ["refund 12"]
        await client.agrees()
