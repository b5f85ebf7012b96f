"""How an answer may end, and which ends make it a whole one."""

from typing import Any

import pytest

from tests.workers.llm.odd_server import HEAD, anthropic, event, odd_server, openai, said, text_of
from tests.workers.scripted import asking, keep, read
from workers.llm.base import LLM, Fault, LLMError, Piece, Stopped, StopReason

HALF = "Do NOT press it, unless "
DONE = event("[DONE]")


async def failure_of(llm: LLM) -> tuple[LLMError, str]:
    seen: list[Piece] = []
    with pytest.raises(LLMError) as caught:
        await keep(seen, llm.stream(asking("May I?")))
    return caught.value, text_of(seen)


def ended(stop_reason: str) -> list[bytes]:
    """Half an answer on Anthropic's wire, and why it ended."""
    return [
        event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": HALF}}),
        event({"type": "message_delta", "delta": {"stop_reason": stop_reason}}),
        event({"type": "message_stop"}),
    ]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ({"code": "server_error", "message": "Provider disconnected"}, "temporary"),
        ({"code": "insufficient_quota", "message": "no credits"}, "auth"),
        ("something", "temporary"),
    ],
)
@pytest.mark.parametrize("finish", ["error", "stop", None])
async def test_an_error_counts_wherever_it_stands(error: Any, fault: Fault, finish: str | None) -> None:
    """OpenRouter sends it beside a choice that ends the answer."""
    async with odd_server(HEAD, said(HALF), said("", finish, error=error), DONE) as server:
        problem, text = await failure_of(openai(server))
    assert (problem.fault, text) == (fault, HALF)


@pytest.mark.parametrize("reason", ["error", "abort", "network_error", "insufficient_system_resource"])
async def test_an_answer_that_ends_for_a_reason_nobody_knows_is_not_whole(reason: str) -> None:
    async with odd_server(HEAD, said(HALF), said("", reason), DONE) as one, odd_server(HEAD, *ended(reason)) as other:
        for problem, text in (await failure_of(openai(one)), await failure_of(anthropic(other))):
            assert (problem.code, problem.fault, text) == ("llm_unavailable", "temporary", HALF)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("stop", "end"),
        ("STOP", "end"),
        ("eos_token", "end"),
        ("length", "length"),
        ("model_length", "length"),
        ("content_filter", "refused"),
    ],
)
async def test_other_servers_words_for_an_end_are_known(told: str, reason: StopReason) -> None:
    async with odd_server(HEAD, said("whole"), said("", told), DONE) as server:
        pieces = await read(openai(server), asking("Well?"))
    assert (text_of(pieces), pieces[-1]) == ("whole", Stopped(reason))


@pytest.mark.parametrize(
    ("told", "reason"),
    [("end_turn", "end"), ("stop_sequence", "end"), ("max_tokens", "length"), ("refusal", "refused")],
)
async def test_anthropics_words_for_an_end_are_known(told: str, reason: StopReason) -> None:
    async with odd_server(HEAD, *ended(told)) as server:
        pieces = await read(anthropic(server), asking("Well?"))
    assert Stopped(reason) in pieces
