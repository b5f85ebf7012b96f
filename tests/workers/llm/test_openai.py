"""`openai:MODEL` against a server process: what is sent, what becomes of good and bad answers."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.llm_process import LLMProcess
from tests.processes import PATIENCE
from tests.workers.scripted import asking, keep, read, read_text
from workers.llm import close_clients, loops, open_llm
from workers.llm.base import LLM, Limits, LLMError, Piece, Prompt, Reasoning, Said, Spent, Text

PATIENT = Limits()
QUICK = Limits(first_token_s=0.3, between_tokens_s=0.3, total_s=10)


def model(server: LLMProcess, behaviour: str, limits: Limits = PATIENT) -> LLM:
    return open_llm(f"openai:{behaviour}", limits, env=server.env)


async def failure_of(llm: LLM, prompt: Prompt) -> tuple[LLMError, str]:
    seen: list[Piece] = []
    with pytest.raises(LLMError) as caught:
        await keep(seen, llm.stream(prompt))
    return caught.value, "".join(piece.text for piece in seen if isinstance(piece, Text))


async def test_the_talk_is_sent_as_it_is_streamed_with_usage_and_the_key(llm_server: LLMProcess) -> None:
    talk = (Said("user", "one"), Said("user", "two"), Said("assistant", "three"), Said("user", "sent as it is?"))
    pieces = await read(model(llm_server, "echo"), Prompt("Be brief.", talk))
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == "sent as it is?"
    assert pieces[-1] == Spent(input_tokens=9, output_tokens=4)
    (request,) = llm_server.requests_with("sent as it is?")
    assert [(message["role"], message["content"]) for message in request["messages"]] == [
        ("system", "Be brief."),
        ("user", "one"),
        ("user", "two"),
        ("assistant", "three"),
        ("user", "sent as it is?"),
    ]
    assert request["model"] == "echo"
    assert request["stream"] is True
    assert request["stream_options"] == {"include_usage": True}
    assert request["authorization"] == "Bearer test-key"


async def test_a_server_without_keys_gets_a_placeholder(
    llm_server: LLMProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-this-server")
    llm = open_llm("openai:echo", Limits(), env={"OPENAI_BASE_URL": llm_server.base_url})
    await read(llm, asking("no key here"))
    assert llm_server.requests_with("no key here")[0]["authorization"] == "Bearer none"


async def test_two_hundred_tokens_arrive_as_two_hundred_pieces(llm_server: LLMProcess) -> None:
    pieces = await read(model(llm_server, "tokens-200@0"), asking("count"))
    assert [piece.text for piece in pieces if isinstance(piece, Text)] == [f"t{number} " for number in range(1, 201)]


async def test_pieces_arrive_while_the_answer_is_still_being_made(llm_server: LLMProcess) -> None:
    began = time.monotonic()
    at = [time.monotonic() - began async for _ in model(llm_server, "tokens-20@50").stream(asking("slowly"))]
    assert at[0] < 0.2 * PATIENCE
    assert 0.36 <= at[-1] < 0.7 * PATIENCE


async def test_an_answer_may_arrive_cut_anywhere(llm_server: LLMProcess) -> None:
    assert await read_text(model(llm_server, "bytes"), asking("Zoë says 🔥 数据库")) == "Zoë says 🔥 数据库"


async def test_reasoning_is_told_apart_from_the_answer(llm_server: LLMProcess) -> None:
    pieces = await read(model(llm_server, "reasoning"), asking("why"))
    assert "".join(piece.text for piece in pieces if isinstance(piece, Reasoning)) == "Let me think."
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == "The answer."


async def test_a_character_cut_in_two_arrives_whole_and_nuls_do_not_arrive(llm_server: LLMProcess) -> None:
    assert await read_text(model(llm_server, "surrogates"), asking("fire")) == "Fire 🔥 and 🚒 gone \ufffd"
    assert await read_text(model(llm_server, "nul"), asking("nul")) == "abc"


@pytest.mark.parametrize("behaviour", ["no-done", "no-finish", "no-usage", "late-cut"])
async def test_an_answer_without_all_the_trimmings_is_still_an_answer(llm_server: LLMProcess, behaviour: str) -> None:
    pieces = await read(model(llm_server, behaviour), asking("a b c"))
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == "a b c"
    assert isinstance(pieces[-1], Spent) is (behaviour in ("no-done", "no-finish"))


@pytest.mark.parametrize(
    ("behaviour", "code", "temporary", "retry_after_s", "shown"),
    [
        ("500", "llm_unavailable", True, None, ""),
        ("502", "llm_unavailable", True, None, ""),
        ("503@7", "llm_unavailable", True, 7, ""),
        ("429@2", "llm_unavailable", True, 2, ""),
        ("quota", "llm_rejected", False, None, ""),
        ("400", "llm_rejected", False, None, ""),
        ("401", "llm_rejected", False, None, ""),
        ("403", "llm_rejected", False, None, ""),
        ("404", "llm_rejected", False, None, ""),
        ("422", "llm_rejected", False, None, ""),
        ("307", "llm_rejected", False, None, ""),
        ("refusal", "llm_rejected", False, None, ""),
        ("cut-after-5", "llm_unavailable", True, None, "t1 t2 t3 t4 t5 "),
        ("end-after-5", "llm_unavailable", True, None, "t1 t2 t3 t4 t5 "),
        ("garbage", "llm_unavailable", True, None, "Well "),
        ("odd-json", "llm_unavailable", True, None, "Well "),
        ("error-in-stream", "llm_unavailable", True, None, "Well "),
        ("html", "llm_unavailable", True, None, ""),
        ("stall-after-5", "llm_timeout", True, None, "t1 t2 t3 t4 t5 "),
        ("never-first-token", "llm_timeout", True, None, ""),
    ],
)
async def test_each_failure_has_its_code_and_shows_nothing_of_the_provider(
    llm_server: LLMProcess, behaviour: str, code: str, temporary: bool, retry_after_s: float | None, shown: str
) -> None:
    prompt = asking(f"fail with {behaviour}")
    error, text = await failure_of(model(llm_server, behaviour, QUICK), prompt)
    assert (error.code, error.temporary, error.retry_after_s) == (code, temporary, retry_after_s)
    assert text == shown
    assert not any(secret in error.message for secret in ("sk-", "http", "127.0.0.1", "test-key", "some_error"))
    assert len(llm_server.requests_with(prompt.talk[-1].text)) == 1, "the SDK must not retry on its own"


async def test_an_endless_answer_is_stopped_and_its_connection_closed(llm_server: LLMProcess) -> None:
    error, text = await failure_of(model(llm_server, "endless", Limits(total_s=0.4)), asking("for ever and ever"))
    assert (error.code, error.temporary) == ("run_too_long", False)
    assert 20 / PATIENCE < len(text.split()) <= 85
    (request,) = llm_server.requests_with("for ever and ever")
    closed = await asyncio.to_thread(llm_server.wait_for, "close", id=request["id"])  # by the loop, in its next round
    assert closed["midstream"] is True


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    llm = open_llm("openai:x", Limits(), env={"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"})
    error, _ = await failure_of(llm, asking("anyone?"))
    assert (error.code, error.temporary) == ("llm_unavailable", True)
    assert "cannot be reached" in error.message
    assert str(port) not in error.message


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue of connections is full: the kernel drops what comes, and connecting just takes for ever."""
    waiting = []
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting.append(client := socket.socket())
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]
    for client in waiting:
        client.close()


async def test_connecting_has_its_own_limit(full_port: int) -> None:
    env = {"OPENAI_BASE_URL": f"http://127.0.0.1:{full_port}/v1"}
    began = time.monotonic()
    error, _ = await failure_of(open_llm("openai:x", Limits(connect_s=0.2), env=env), asking("anyone?"))
    assert (error.code, error.temporary) == ("llm_timeout", True)
    assert 0.2 <= time.monotonic() - began < 0.6 * PATIENCE


@pytest.mark.parametrize("how", ["cancelled", "closed"])
@pytest.mark.parametrize("behaviour", ["tokens-5000@50", "stall-after-5", "never-first-token"])
async def test_the_connection_is_closed_within_200_ms_of_the_end_of_interest(
    llm_server: LLMProcess, behaviour: str, how: str
) -> None:
    prompt = asking(f"{how} in the middle of {behaviour}")
    stream = model(llm_server, behaviour).stream(prompt)

    async def consume() -> None:
        async for _ in stream:
            if how == "closed":
                return

    reading = asyncio.create_task(consume())
    await asyncio.sleep(0.25)
    (request,) = llm_server.requests_with(prompt.talk[-1].text)
    ended_at = time.time()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await stream.aclose()
    close = await asyncio.to_thread(llm_server.wait_for, "close", id=request["id"])
    assert close["by"] == "client"
    assert close["midstream"] is True
    assert close["at"] - ended_at < 0.2 * PATIENCE
    assert close["tokens"] < 100


async def test_no_answer_waits_for_a_hundred_others_to_end(llm_server: LLMProcess) -> None:
    streams = [model(llm_server, "never-first-token").stream(asking(f"crowd {number}")) for number in range(101)]
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    deadline = time.monotonic() + 15 * PATIENCE
    while len(llm_server.requests_with("crowd")) < 101 and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert len(llm_server.requests_with("crowd")) == 101


async def test_one_connection_serves_one_answer_after_the_other(llm_server: LLMProcess) -> None:
    for number in range(3):
        await read(model(llm_server, "echo"), asking(f"kept connection {number}"))
    ids = [request["id"] for request in llm_server.requests_with("kept connection")]
    assert [close for close in llm_server.events("close") if close["id"] in ids] == []
    await close_clients()
    close = await asyncio.to_thread(llm_server.wait_for, "close", id=ids[-1])
    assert close["midstream"] is False


def test_each_event_loop_has_its_own_connections_and_a_dead_loop_leaves_none(llm_server: LLMProcess) -> None:
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await read_text(model(llm_server, "echo"), asking("same words")))

    threads = [threading.Thread(target=asyncio.run, args=(ask(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["same words"] * 4

    async def ask_and_close() -> int:
        await ask()
        await close_clients()
        return len(loops._clients)

    assert asyncio.run(ask_and_close()) == 0
