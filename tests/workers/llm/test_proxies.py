"""Which proxy a language model's server is asked through, and with whose password."""

import asyncio
import json
from base64 import b64encode
from pathlib import Path

import pytest

from tests.llm_process import LLMProcess
from tests.workers.scripted import asking, read_text
from workers.llm import close_clients, open_llm
from workers.llm.base import Limits, LLMError, Prompt

PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")
ELSEWHERE = {"OPENAI_BASE_URL": "http://llm.example/v1", "OPENAI_API_KEY": "sk-ours"}


async def failure(prompt: Prompt) -> LLMError:
    with pytest.raises(LLMError) as caught:
        await read_text(open_llm("openai:x", Limits(connect_s=1.0), env=ELSEWHERE), prompt)
    return caught.value


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


async def test_a_proxy_of_the_environment_is_not_asked_for_our_own_machine(
    llm_server: LLMProcess, no_proxies: pytest.MonkeyPatch
) -> None:
    for name in PROXIES[:6]:
        no_proxies.setenv(name, "http://127.0.0.1:9")
    assert (
        await read_text(open_llm("openai:echo", Limits(), env=llm_server.env), asking("past the proxy"))
        == "past the proxy"
    )
    error = await failure(asking("through the proxy"))
    assert (error.code, error.message) == ("llm_unavailable", "The language model cannot be reached.")


@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
async def test_a_server_elsewhere_is_asked_through_the_proxy_with_its_password(
    name: str, no_proxies: pytest.MonkeyPatch
) -> None:
    heads: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        said = json.dumps({"choices": [{"delta": {"content": "from afar"}, "finish_reason": "stop"}]})
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {said}\n\n".encode())
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        no_proxies.setenv(name, f"user:secret@127.0.0.1:{port}")
        assert await read_text(open_llm("openai:x", Limits(), env=ELSEWHERE), asking("through it")) == "from afar"
        no_proxies.setenv("no_proxy", "llm.example")
        await close_clients()
        assert (await failure(asking("past it"))).temporary
    (head,) = heads
    assert head.startswith("post http://llm.example/v1/chat/completions http/1.1\r\n")
    assert f"proxy-authorization: basic {b64encode(b'user:secret').decode()}".lower() in head
    assert "authorization: bearer sk-ours" in head


def test_a_proxy_that_cannot_be_asked_is_refused_when_the_model_is_opened(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:9")
    with pytest.raises(ValueError, match=r"proxy for llm\.example") as refused:
        open_llm("openai:x", Limits(), env=ELSEWHERE)
    assert "secret" not in str(refused.value)


async def test_a_password_of_netrc_for_the_server_is_neither_sent_nor_in_the_way(
    llm_server: LLMProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login ada password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert (
        await read_text(open_llm("openai:echo", Limits(), env=llm_server.env), asking("with our own key"))
        == "with our own key"
    )
