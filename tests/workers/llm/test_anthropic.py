"""`anthropic:MODEL` against a server process: what is sent, what becomes of good and bad answers."""

import pytest

from tests.llm_process import LLMProcess
from tests.workers.scripted import asking, keep, read, read_text
from workers.llm import open_llm
from workers.llm.base import LLM, Fault, Limits, LLMError, Piece, Prompt, Reasoning, Said, Spent, Stopped, Text

QUICK = Limits(first_token_s=0.3, between_tokens_s=0.3, total_s=10)


def model(server: LLMProcess, behaviour: str, limits: Limits = Limits()) -> LLM:  # noqa: B008 - frozen
    return open_llm(f"anthropic:{behaviour}", limits, env=server.env)


async def test_the_talk_is_sent_in_turns_that_alternate(llm_server: LLMProcess) -> None:
    talk = (Said("assistant", "zero"), Said("user", "one"), Said("user", "two"), Said("assistant", " "))
    pieces = await read(model(llm_server, "echo"), Prompt("Be brief.", (*talk, Said("user", "in turns?"))))
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == "in turns?"
    assert pieces[-2:] == [Stopped("end"), Spent(7, 2)]
    (request,) = llm_server.requests_with("in turns?")
    texts = [[block["text"] for block in message["content"]] for message in request["messages"]]
    assert texts == [["…"], ["zero"], ["one", "two", "in turns?"]]
    assert (request["system"], request["stream"], request["max_tokens"]) == ("Be brief.", True, 8192)
    assert (request["authorization"], request["version"]) == ("test-key", "2023-06-01")


async def test_reasoning_is_told_apart_from_the_answer(llm_server: LLMProcess) -> None:
    pieces = await read(model(llm_server, "reasoning"), asking("why"))
    assert "".join(piece.text for piece in pieces if isinstance(piece, Reasoning)) == "Let me think."
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == "The answer."


async def test_an_answer_may_arrive_cut_anywhere(llm_server: LLMProcess) -> None:
    assert await read_text(model(llm_server, "tokens-200@0"), asking("count")) == "".join(
        f"t{number} " for number in range(1, 201)
    )


@pytest.mark.parametrize(
    ("behaviour", "code", "fault", "shown"),
    [
        ("500", "llm_unavailable", "temporary", ""),
        ("529", "llm_unavailable", "temporary", ""),
        ("429@2", "llm_unavailable", "temporary", ""),
        ("400", "llm_rejected", "validation", ""),
        ("401", "llm_rejected", "auth", ""),
        ("404", "llm_rejected", "unknown", ""),
        ("413", "llm_rejected", "context", ""),
        ("quota", "llm_rejected", "auth", ""),
        ("too-long", "llm_rejected", "context", ""),
        ("refusal", "llm_rejected", "validation", ""),
        ("cut-after-5", "llm_unavailable", "temporary", "t1 t2 t3 t4 t5 "),
        ("end-after-5", "llm_unavailable", "temporary", "t1 t2 t3 t4 t5 "),
        ("garbage", "llm_unavailable", "temporary", "Well "),
        ("odd-json", "llm_unavailable", "temporary", "Well "),
        ("error-in-stream", "llm_unavailable", "temporary", "Well "),
        ("html", "llm_unavailable", "temporary", ""),
        ("stall-after-5", "llm_timeout", "temporary", "t1 t2 t3 t4 t5 "),
    ],
)
async def test_each_failure_has_its_code_its_fault_and_no_secret(
    llm_server: LLMProcess, behaviour: str, code: str, fault: Fault, shown: str
) -> None:
    seen: list[Piece] = []
    prompt = asking(f"anthropic fails with {behaviour}")
    with pytest.raises(LLMError) as caught:
        await keep(seen, model(llm_server, behaviour, QUICK).stream(prompt))
    error = caught.value
    assert (error.code, error.fault) == (code, fault)
    assert "".join(piece.text for piece in seen if isinstance(piece, Text)) == shown
    assert not any(secret in error.message for secret in ("sk-", "http", "127.0.0.1", "test-key", "some_error"))
    assert len(llm_server.requests_with(prompt.talk[-1].text)) == 1


async def test_one_connection_serves_one_answer_after_the_other(llm_server: LLMProcess) -> None:
    for number in range(3):
        await read(model(llm_server, "echo"), asking(f"anthropic kept {number}"))
    ids = [request["id"] for request in llm_server.requests_with("anthropic kept")]
    assert [close for close in llm_server.events("close") if close["id"] in ids] == []


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({}, "ANTHROPIC_API_KEY"),
        ({"ANTHROPIC_BASE_URL": "nowhere"}, "ANTHROPIC_BASE_URL"),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_MAX_TOKENS": "many"}, "ANTHROPIC_MAX_TOKENS"),
    ],
)
def test_what_cannot_work_is_refused_when_the_model_is_opened(env: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        open_llm("anthropic:claude", Limits(), env=env)
