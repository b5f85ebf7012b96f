"""A server that answers every request with the bytes that it is given, and goes on saying the last of them.

And what it says on either wire.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from workers.llm import open_llm
from workers.llm.base import LLM, Limits, Text

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


class OddServer:
    """`heads` are the requests that came, in small letters."""

    def __init__(self, said: Sequence[bytes], again: bytes = b"") -> None:
        self.said, self.again = said, again
        self.heads: list[str] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
            for part in self.said:
                writer.write(part)
            while self.again:
                await writer.drain()
                await asyncio.sleep(0.02)
                writer.write(self.again)
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def odd_server(*said: bytes, again: bytes = b"") -> AsyncIterator[OddServer]:
    server = OddServer(said, again)
    async with await asyncio.start_server(server.answer, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


def event(data: Any) -> bytes:
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def openai(server: OddServer, userinfo: str = "") -> LLM:
    env = {"OPENAI_BASE_URL": f"http://{userinfo}127.0.0.1:{server.port}/v1", "OPENAI_API_KEY": "sk-ours"}
    return open_llm("openai:x", Limits(first_token_s=5, between_tokens_s=5), env=env)


def anthropic(server: OddServer) -> LLM:
    return open_llm(
        "anthropic:x", Limits(between_tokens_s=5), env={"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{server.port}"}
    )


def said(text: str, finish: str | None = None, **more: Any) -> bytes:
    return event({"choices": [{"delta": {"content": text}, "finish_reason": finish}], **more})


def text_of(pieces: list[Any]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Text))
