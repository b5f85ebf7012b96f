"""A server of OpenAI's chat completions and Anthropic's messages, which does what the model's name says.

Well or badly, and it writes down what it saw.

`python -m tests.llm_server --port 0 --record FILE` prints its port when it is ready. Shares no code with the project.

    echo · bytes            the last message, word by word; or cut into single bytes (and without [DONE])
    tokens-200@50           exactly 200 numbered tokens, 50 a second (@0, or nothing: as fast as it goes)
    tools-1 · tools-2       one call of the first tool, or two at once, in pieces; after their results: those, in words
    tools-1-then-X          likewise, but asked for the words it first does X
    obeys                   calls the first tool, and then whatever a result tells it to (the name of a tool, a number)
    cut-in-call · long-call a connection cut in a call's arguments; a call cut by the length of the answer
    rounds-3                three rounds of one call each, then what they gave, in words
    summary-aware           a request for a summary: every sentence it was given; any other: echo
    reasoning               thoughts, then an answer                 surrogates · nul   awkward text
    stall-after-5           5 tokens, then silence                   never-first-token  silence
    cut-after-5             5 tokens, then a reset connection        end-after-5        5 tokens, then the body's end
    cut-once-after-5        so the first time, whole the second      no-done            a finish reason, and no [DONE]
    no-finish               a [DONE], and no finish reason           endless            tokens for ever, 200 a second
    late-cut                an answer, its finish reason, then a reset connection
    500 · 429-once · 429@2  a status, always or once; @ = Retry-After (429 and 503: 0.1)
    quota · too-long · error-in-stream · garbage · odd-json · html · empty · refusal · no-usage
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests import llm_anthropic
from tests.llm_script import END, RESET, Script

REFUSALS = {"quota": ("insufficient_quota", 429), "too-long": ("context_length_exceeded", 400)}


class Server:
    def __init__(self, record: Path | None) -> None:
        self.record = record.open("a", encoding="utf-8") if record else None
        self.asked: Counter[str] = Counter()
        self.ids = itertools.count(1)

    def note(self, event: str, **facts: Any) -> None:
        if self.record:
            self.record.write(json.dumps({"event": event, "at": round(time.time(), 4), **facts}) + "\n")
            self.record.flush()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        last: dict[str, Any] = {"id": None, "tokens": 0, "midstream": False, "by": "client"}
        try:
            while (body := await self._read_request(reader)) is not None:
                if not await self._answer(reader, writer, *body, last):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client's doing: it is noted below
        finally:
            writer.close()
            self.note("close", **last)

    async def _read_request(self, reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes] | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *rest = head.strip().split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        headers["path"] = first.split(" ")[1]
        return headers, await reader.readexactly(int(headers.get("content-length", "0")))

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        headers: dict[str, str],
        body: bytes,
        last: dict[str, Any],
    ) -> bool:
        """Answer one request. Return whether the connection goes on."""
        is_anthropic = headers["path"].endswith("/v1/messages")
        if not is_anthropic and not headers["path"].endswith("/chat/completions"):
            return await self._send(writer, 404, {"error": {"message": "no such path", "type": "not_found"}})
        asked = json.loads(body)
        raw = asked["messages"]
        if is_anthropic:
            asked = llm_anthropic.as_chat(asked)
        model, messages = str(asked["model"]), asked["messages"]
        key = json.dumps([model, messages])
        self.asked[key] += 1
        named = model
        if midway := re.fullmatch(r"(tools-\d)-then-(.+)", model):
            now = messages[-1]["role"] == "tool" and self.asked[key] == 1
            model = asked["model"] = midway[2] if now else midway[1]
        last |= {"id": next(self.ids), "tokens": 0, "midstream": True}
        self.note(
            "request",
            id=last["id"],
            model=named,
            messages=raw,
            tools=asked.get("tools"),
            tool_choice=asked.get("tool_choice"),
            system=asked.get("system"),
            max_tokens=asked.get("max_tokens"),
            version=headers.get("anthropic-version"),
            stream=asked.get("stream"),
            stream_options=asked.get("stream_options"),
            authorization=headers.get("authorization") or headers.get("x-api-key"),
        )
        status = re.fullmatch(r"(\d{3})(-once)?(?:@([\d.]+))?", model)
        if status and (not status[2] or self.asked[key] == 1):
            last["midstream"] = False
            after = status[3] or ("0.1" if status[1] in ("429", "503") else None)
            error = {"message": "secret sk-123 at http://10.0.0.1", "type": "some_error", "code": None}
            return await self._send(writer, int(status[1]), {"error": error}, after)
        if model in REFUSALS:
            last["midstream"] = False
            code, status_code = REFUSALS[model]
            return await self._send(writer, status_code, {"error": {"message": "no", "type": code, "code": code}})
        script = Script(asked, self.asked[key])
        lines = llm_anthropic.events(script.lines()) if is_anthropic else script.lines()
        sending = asyncio.create_task(self._stream(writer, script, lines, last))
        gone = asyncio.create_task(reader.read(1))  # nothing more comes on it while an answer is on its way
        await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sending, gone):
            task.cancel()
        results = await asyncio.gather(sending, gone, return_exceptions=True)
        return results[0] is True

    async def _stream(
        self,
        writer: asyncio.StreamWriter,
        script: Script,
        lines: AsyncIterator[dict[str, Any] | str],
        last: dict[str, Any],
    ) -> bool:
        is_html = script.model == "html"
        kind = b"text/html" if is_html else b"text/event-stream"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % kind)
        line: dict[str, Any] | str = END
        async for line in lines:
            if line == RESET:
                linger = struct.pack("ii", 1, 0)  # closing sends RST, not FIN
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                last["by"] = "server"
                writer.transport.abort()
                return False
            if line == END:
                break
            data = line if isinstance(line, str) else json.dumps(line, ensure_ascii=script.model != "bytes")
            sse = f"<p>{script.tokens}</p>\n".encode() if is_html else f"data: {data}\n\n".encode()
            for part in [sse[at : at + 1] for at in range(len(sse))] if script.model == "bytes" else [sse]:
                writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()
            last["tokens"] = script.tokens
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        last["midstream"] = False
        if line == "[DONE]":
            self.note("answered", id=last["id"], tokens=script.tokens)
        return True

    async def _send(self, writer: asyncio.StreamWriter, status: int, body: object, after: str | None = None) -> bool:
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        writer.write((head + (f"Retry-After: {after}\r\n" if after else "") + "\r\n").encode() + data)
        await writer.drain()
        return True


async def main(port: int, record: Path | None) -> None:
    server = await asyncio.start_server(Server(record).serve, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--record", type=Path)
    given = options.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # at once; each line of the record is on disk already
    asyncio.run(main(given.port, given.record))
