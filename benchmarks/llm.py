"""An OpenAI-compatible server that costs as little as it can: its answers are put together before anybody asks.

`python -m benchmarks.llm PORT`. The model's name says what it answers: `tokens-100@50` is 100 numbered tokens, 50 a
second; `@0` is all at once; `tokens-2000@0+50` then goes on for ever, 50 a second; `markdown-100@50` is as many pieces
of Markdown.
"""

import asyncio
import json
import re
import sys
from functools import cache
from itertools import count, islice
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def text_of(tokens: int) -> str:
    """What an answer of so many tokens says."""
    return "".join(f"t{number} " for number in range(1, tokens + 1))


END = "That is all."
SECTION = 64  # pieces


@cache
def markdown(tokens: int) -> list[str]:
    """So many pieces of Markdown: sections with a heading, a paragraph, a list and code, of numbered words."""
    words = (f"word{number} " for number in count(1))

    def some(size: int, before: str = "", after: str = "\n") -> list[str]:
        said = list(islice(words, size))
        return [before + said[0], *said[1:-1], said[-1] + after]

    pieces: list[str] = []
    while len(pieces) + SECTION < tokens - 2:
        pieces += some(4, "## ", "\n\n") + some(30, after="\n\n")
        pieces += some(5, "- ") + some(5, "- ") + some(5, "- ")
        pieces += some(5, "\n```python\n") + some(5) + some(5, after="\n```\n\n")
    return [*pieces, *some(tokens - 1 - len(pieces), after=""), END]


def _chunk(data: str) -> bytes:
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


@cache
def answer(kind: str, tokens: int) -> list[bytes]:
    """The chunks of a stream: the head, each token, and its end."""
    said = markdown(tokens) if kind == "markdown" else [f"t{number} " for number in range(1, tokens + 1)]
    base: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def piece(delta: dict[str, str], finish: str | None = None) -> bytes:
        return _chunk(json.dumps(base | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))

    usage = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": tokens + 5}
    end = piece({}, "stop") + _chunk(json.dumps(base | {"choices": [], "usage": usage})) + _chunk("[DONE]")
    return [HEAD, *(piece({"role": "assistant", "content": text}) for text in said), end + b"0\r\n\r\n"]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection's requests until it is closed."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = re.search(r"content-length: *(\d+)", head)
            asked = json.loads(await reader.readexactly(int(length[1]) if length else 0))
            wanted = re.fullmatch(r"(tokens|markdown)-(\d+)@(\d+)(?:\+(\d+))?", asked["model"])
            if wanted is None:
                raise ValueError(asked["model"])
            head_chunk, *pieces, end = answer(wanted[1], int(wanted[2]))
            if wanted[4]:
                writer.write(b"".join([head_chunk, *pieces]))
                while not writer.is_closing():
                    await asyncio.sleep(1 / int(wanted[4]))
                    writer.write(pieces[0])
            elif (per_s := int(wanted[3])) == 0:
                writer.write(b"".join([head_chunk, *pieces, end]))
            else:
                writer.write(head_chunk)
                begin = loop.time()
                for number, part in enumerate(pieces):
                    if (wait_s := begin + number / per_s - loop.time()) > 0:
                        await asyncio.sleep(wait_s)
                    writer.write(part)
                writer.write(end)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the client has gone
    finally:
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
