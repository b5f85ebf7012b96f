"""What becomes of an answer when its server says what no server should, or is named by an odd address or key."""

import json
import time
from base64 import b64encode
from email.utils import formatdate
from typing import Any

import pytest

from tests.workers.llm.odd_server import HEAD, OddServer, anthropic, event, odd_server, openai, said, text_of
from tests.workers.scripted import asking, read
from workers.llm import anthropic as of_anthropic
from workers.llm import open_llm
from workers.llm import openai as of_openai
from workers.llm.base import Called, Fault, Limits, LLMError, Prompt, Returned, Spent, ToolCall, tokens_told
from workers.llm.wire import MAX_ERROR_BYTES

DEEP = "[" * 100_000
JSON = HEAD.replace(b"text/event-stream", b"application/json; charset=utf-8")


ANTHROPIC = (
    HEAD,
    event({"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}}),
    event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "whole"}}),
    event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2**64}}),
)
STOP, PING = event({"type": "message_stop"}), event({"type": "ping"})


# --- usage ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("nonsense", [-1, 2**64 - 1, 10**300, 1e999, float("nan"), "many", None, []])
async def test_nonsense_for_usage_costs_nothing_and_no_answer(nonsense: Any) -> None:
    assert tokens_told(nonsense) == 0
    usage = {"prompt_tokens": 7, "completion_tokens": nonsense, "prompt_tokens_details": {"cached_tokens": nonsense}}
    async with odd_server(HEAD, said("whole", "stop", usage=usage), event("[DONE]")) as server:
        pieces = await read(openai(server), asking("how much?"))
    assert text_of(pieces) == "whole"
    assert pieces[-1] == Spent(7, 0, 0)


def test_a_number_of_tokens_is_read_as_it_is() -> None:
    assert [tokens_told(number) for number in (0, 7, 12.0, 1_000_000)] == [0, 7, 12, 1_000_000]


@pytest.mark.parametrize("nonsense", ["none", [], [7], 7])
async def test_usage_that_is_none_costs_no_answer(nonsense: Any) -> None:
    async with odd_server(HEAD, said("whole", "stop", usage=nonsense), event("[DONE]")) as server:
        assert text_of(await read(openai(server), asking("how much?"))) == "whole"
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": nonsense}
    async with odd_server(HEAD, said("whole", "stop", usage=usage), event("[DONE]")) as server:
        assert (await read(openai(server), asking("how much?")))[-1] == Spent(7, 3)
    start = {"type": "message_start", "message": {"usage": nonsense}}
    async with odd_server(HEAD, event(start), *ANTHROPIC[2:], STOP) as server:
        assert text_of(await read(anthropic(server), asking("how much?"))) == "whole"


@pytest.mark.parametrize("nothing", [None, 0])
async def test_usage_that_was_told_is_not_lost_to_nothing_that_is_told_later(nothing: Any) -> None:
    start = {"input_tokens": 5000, "cache_read_input_tokens": 40, "output_tokens": 1}
    end = {"input_tokens": nothing, "cache_read_input_tokens": nothing, "output_tokens": 3}
    async with odd_server(
        HEAD,
        event({"type": "message_start", "message": {"usage": start}}),
        event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "whole"}}),
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end}),
        STOP,
    ) as server:
        assert (await read(anthropic(server), asking("how much?")))[-1] == Spent(5040, 3, 40)


# --- bodies -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body",
    [
        HEAD + event(DEEP),
        HEAD + event('{"choices":[{"delta":{"tool_calls":[{"index":1e999,"id":"a","function":{"name":"x"}}]}}]}'),
        f"HTTP/1.1 503 No\r\nContent-Length: {len(DEEP)}\r\n\r\n{DEEP}".encode(),
        HEAD + said(7),  # type: ignore[arg-type]
        HEAD + said([{"type": "text", "text": 7}]),  # type: ignore[arg-type]
        JSON + b'{"choices": [{"message": {"content": "all at once"}}]}',
        JSON + b'{"error": null}',
        JSON + b'{"error": ',
    ],
    ids=[
        "nested without end",
        "an endless index",
        "a refusal that nests without end",
        "a number for a text",
        "a number for a part",
        "a whole answer",
        "an error that is none",
        "half an error",
    ],
)
async def test_what_cannot_be_read_is_a_fault_of_the_server_and_the_next_llm_is_asked(body: bytes) -> None:
    async with odd_server(body) as server:
        with pytest.raises(LLMError) as caught:
            await read(openai(server), asking("what is that?"))
    assert caught.value.temporary


@pytest.mark.parametrize("provider", [of_openai, of_anthropic])
def test_a_call_that_nests_without_end_breaks_no_later_request(provider: Any) -> None:
    talk = (Called("", (ToolCall("a", "x", DEEP),)), Returned("a", "x", "no JSON", is_error=True))
    request = provider.request_of("x", Prompt("", talk), *([100] if provider is of_anthropic else []))
    assert DEEP not in json.dumps(request)


@pytest.mark.parametrize("piece", [5, None, ["a"]])
@pytest.mark.parametrize("kind", ["text", "thinking", "partial_json"])
async def test_what_is_no_text_is_a_fault_of_the_other_server_too(kind: str, piece: Any) -> None:
    delta = {"type": f"{kind.replace('partial', 'input')}_delta", kind: piece}
    call = {"type": "tool_use", "id": "a", "name": "x", "input": {}}
    async with odd_server(
        HEAD,
        event({"type": "content_block_start", "index": 0, "content_block": call}),
        event({"type": "content_block_delta", "index": 0, "delta": delta}),
        *ANTHROPIC[2:],
        STOP,
    ) as server:
        with pytest.raises(LLMError) as caught:
            await read(anthropic(server), asking("what is that?"))
    assert caught.value.temporary


async def test_a_text_in_parts_is_read() -> None:
    parts: Any = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "who"},
        {"type": "text", "text": "le"},
    ]
    async with odd_server(HEAD, said(parts), said("", "stop"), event("[DONE]")) as server:
        assert text_of(await read(openai(server), asking("parts?"))) == "whole"


async def test_a_stream_that_calls_itself_json_is_read() -> None:
    stream = said("{who") + said("le}") + said("", "stop") + event("[DONE]")
    at = stream.index(b"{", 1)  # a part of it begins like JSON
    async with odd_server(JSON, b"\n", stream[:at], stream[at:]) as server:
        assert text_of(await read(openai(server), asking("whole?"))) == "{whole}"


async def test_a_call_that_nests_without_end_is_taken_for_one_that_was_cut() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "x", "arguments": DEEP}}
    async with odd_server(
        HEAD, event({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "length"}]})
    ) as one:
        pieces = await read(openai(one), asking("call it"))
    assert not [piece for piece in pieces if isinstance(piece, ToolCall)]


# --- refusals ---------------------------------------------------------------------------------------------------------
async def failure_at(server: OddServer) -> LLMError:
    with pytest.raises(LLMError) as caught:
        await read(openai(server), asking("a secret"))
    return caught.value


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ({"code": 402, "message": "Insufficient credits"}, "auth"),
        ({"code": 403, "type": "insufficient_quota"}, "auth"),
        ({"code": 400, "message": "maximum context length is 8192 tokens"}, "context"),
        ({"code": 404}, "unknown"),
        ({"code": 400}, "validation"),
        ({"code": 429}, "temporary"),
        ({"code": 502}, "temporary"),
        ({"type": "invalid_request_error"}, "validation"),
        ("overloaded", "temporary"),
    ],
)
async def test_an_error_that_its_server_calls_a_success_is_read_as_a_refusal(error: Any, fault: Fault) -> None:
    body = json.dumps({"error": error}).encode()
    async with odd_server(JSON, body[:5], body[5:]) as one, odd_server(HEAD, event({"error": error})) as other:
        for server in (one, other):
            assert (await failure_at(server)).fault == fault


async def test_a_server_that_sends_us_elsewhere_is_not_followed_there() -> None:
    """The talk is for the server that the operator named."""
    async with odd_server(HEAD, said("got it", "stop")) as elsewhere:
        there = f"http://127.0.0.1:{elsewhere.port}/v1"
        async with odd_server(f"HTTP/1.1 307 No\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode()) as server:
            assert (await failure_at(server)).code == "llm_rejected"
    assert not elsewhere.heads


async def test_a_refusal_without_end_is_not_read_to_its_end() -> None:
    async with odd_server(b"HTTP/1.1 500 No\r\n\r\n", again=b"x" * MAX_ERROR_BYTES) as server:
        assert (await failure_at(server)).code == "llm_unavailable"


async def test_a_wait_may_be_told_as_a_date() -> None:
    date = formatdate(time.time() + 60, usegmt=True)
    async with odd_server(f"HTTP/1.1 503 No\r\nRetry-After: {date}\r\nContent-Length: 0\r\n\r\n".encode()) as server:
        assert 30 < ((await failure_at(server)).retry_after_s or 0) <= 60


# --- ends -------------------------------------------------------------------------------------------------------------
async def test_who_goes_on_saying_that_it_is_done_is_not_listened_to_for_ever() -> None:
    async with odd_server(HEAD, said("whole", "stop"), again=event("[DONE]")) as server:
        assert text_of(await read(openai(server), asking("done?"))) == "whole"


@pytest.mark.parametrize(
    ("end", "again"),
    [([STOP], PING), ([STOP], STOP), ([], PING)],
    ids=["pings after the end", "one end after the other", "pings and no end"],
)
async def test_an_answer_that_is_whole_is_not_lost_to_what_goes_on_behind_it(end: list[bytes], again: bytes) -> None:
    async with odd_server(*ANTHROPIC, *end, again=again) as server:
        pieces = await read(anthropic(server), asking("whole?"))
    assert text_of(pieces) == "whole"
    assert pieces[-1] == Spent(5, 1, 0), "of nonsense, what was told before it stays"


# --- addresses and keys -----------------------------------------------------------------------------------------------
async def test_an_address_with_a_password_of_its_own_is_asked_with_that() -> None:
    async with odd_server(HEAD, said("through the gate", "stop"), event("[DONE]")) as server:
        pieces = await read(openai(server, userinfo="me:secret@"), asking("who is there?"))
    assert text_of(pieces) == "through the gate"
    assert f"authorization: basic {b64encode(b'me:secret').decode()}".lower() in server.heads[0]


@pytest.mark.parametrize("url", ["http://a..b/v1", "http://llm:99999/v1", "http://[::1/v1", "http://:80/v1", "llm/v1"])
def test_an_address_that_there_cannot_be_is_refused_when_the_model_is_opened(url: str) -> None:
    with pytest.raises(ValueError, match="OPENAI_BASE_URL"):
        open_llm("openai:x", Limits(), env={"OPENAI_BASE_URL": url})


@pytest.mark.parametrize("key", ["sk-\nours", "sk ours", "sk-\0", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_told(key: str) -> None:
    with pytest.raises(ValueError, match="OPENAI_API_KEY") as refused:
        open_llm("openai:x", Limits(), env={"OPENAI_API_KEY": key})
    assert key not in str(refused.value)


async def test_a_line_end_behind_a_key_does_no_harm() -> None:
    async with odd_server(HEAD, said("welcome", "stop"), event("[DONE]")) as server:
        env = {"OPENAI_BASE_URL": f"http://127.0.0.1:{server.port}/v1", "OPENAI_API_KEY": "sk-ours\n"}
        assert text_of(await read(open_llm("openai:x", Limits(), env=env), asking("who?"))) == "welcome"
    assert "authorization: bearer sk-ours\r\n" in server.heads[0]
