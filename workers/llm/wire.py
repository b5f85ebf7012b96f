"""What providers that speak HTTP share: connections, a request whose answer streams, its end."""

import asyncio
import ipaddress
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from workers.llm.base import LLMError, Piece, Spent, Stopped, StopReason, ToolCall
from workers.llm.failures import broken_off, refused, told_error, unavailable, unreadable
from workers.llm.loops import client_here
from workers.llm.sse import EventTooLong, events_of

MAX_ERROR_BYTES = 64 * 1024
# What reading an odd but valid JSON leads to.
ODD = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)
# Once an answer is whole: how long to wait for its usage and last event, and after these for its stream to end.
USAGE_S, END_S = 2.0, 0.25


class Server:
    """The connections to one server, for one event loop."""

    def __init__(self, base_url: str, headers: Mapping[str, str], connect_s: float) -> None:
        if urlsplit(base_url).username:  # the address has a password of its own, which goes where our key would
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        self._http = aiohttp.ClientSession(
            # No limit on the number of connections, whose default (100) would let run 101 wait for an answer that it
            # never asked for.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0),
            # Only connecting is limited here: how long a model may think is `guarded.py`'s to say.
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_s or None),
            # Not trust_env: where ~/.netrc knows the server, aiohttp refuses a request that brings its own key.
            proxy=_proxy_to(base_url),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                **headers,
                "Content-Type": "application/json",
                "Accept": "text/event-stream",
                "Accept-Encoding": "identity",  # a compressed stream arrives in lumps
            },
        )

    async def close(self) -> None:
        await self._http.close()

    @asynccontextmanager
    async def ask(self, url: str, body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[str]]:
        """Send a request, and give the data of its events. Whatever fails inside is raised as an LLMError."""
        # As a file, a long talk is sent in parts, between which the other answers go on.
        content = BytesIO(json.dumps(body).encode("ascii"))
        try:
            async with self._http.post(url, data=content, allow_redirects=False) as response:
                if response.status != 200:
                    raise await _refusal(response)
                content_type = response.headers.get("Content-Type", "")
                if "text/html" in content_type:
                    raise unreadable()
                chunks = _events_at(response) if "json" in content_type else response.content.iter_any()
                async with aclosing(events_of(chunks)) as events:
                    yield events
        except aiohttp.ConnectionTimeoutError as error:
            raise LLMError("llm_timeout", "The language model could not be reached in time.", temporary=True) from error
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            raise unavailable("The language model cannot be reached.") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise broken_off() from error
        except (aiohttp.ClientError, EventTooLong) as error:
            raise unreadable() from error
        except ODD as error:
            # An odd but valid JSON: nobody checks each of a hundred thousand tokens for what it may lack.
            raise unreadable() from error


def _proxy_to(base_url: str) -> str | None:
    """Return the proxy that the environment names for a server. Raises: ValueError."""
    server = urlsplit(base_url)
    if is_loopback(base_url) or proxy_bypass(server.netloc):  # a proxy cannot reach our own machine
        return None
    proxies = getproxies()
    proxy = proxies.get(server.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ValueError(f"The environment names a proxy for {server.hostname} that is no HTTP proxy.")
    return proxy


async def read_rest(events: AsyncIterator[str], take: Callable[[str], float | None]) -> None:
    """Read what follows an answer that is whole, so that its connection serves the next one.

    `take` gets each event's data, and says for how many seconds at most it is worth going on. Nothing that happens
    here is an error any more: not a server that breaks off, and none that goes on to say nothing.
    """
    with suppress(TimeoutError, LLMError, aiohttp.ClientError, *ODD):
        async with asyncio.timeout(take("")) as patience:
            async for data in events:
                if (within_s := take(data)) is not None:
                    patience.reschedule(asyncio.get_running_loop().time() + within_s)


def ending(stop: StopReason | None, calls: Sequence[ToolCall], spent: Spent | None, *, has_text: bool) -> list[Piece]:
    """What is known at the end of an answer: the calls, why it stopped, what it cost. Raises: LLMError.

    `stop` is None where the server did not say. Unless the model itself stopped, a call may be cut in the middle, or
    before its first argument, and would be made with what its tool takes where nothing is said.
    """
    if stop == "refused" and not has_text:
        raise LLMError("llm_rejected", "The language model refused to answer this.", fault="validation")
    is_whole = stop in ("end", "tools")
    made = [replace(call, args_json=call.args_json or "{}") for call in calls if is_whole or is_json(call.args_json)]
    if stop is None and len(made) < len(calls):
        raise broken_off()
    reason = stop or "end"
    if made and reason == "end":  # some servers call this the end, too
        reason = "tools"
    return [*made, Stopped(reason), *([spent] if spent else [])]


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def server_here(base_url: str, headers: Mapping[str, str], connect_s: float) -> Server:
    """Return the running loop's connections to a server."""
    key = ("http", base_url, tuple(headers.items()), connect_s)
    return client_here(key, lambda: Server(base_url, headers, connect_s))


def _checked_url(name: str, value: str) -> str:
    """Return a server's address without its last slash. Raises: ValueError."""
    try:
        parts = urlsplit(value)
        is_address = parts.scheme in ("http", "https") and (parts.hostname or "").encode("idna") and parts.port != 0
    except ValueError:  # a port or a host that there cannot be
        is_address = False
    if not is_address:
        raise ValueError(f"{name} is no address: write it like 'http://127.0.0.1:8080/v1'.")
    return value.rstrip("/")


def named_server(
    provider: str, name: str, own_url: str, env: Mapping[str, str], *, url_name: str, key_name: str
) -> tuple[str, str, str]:
    """The model that `PROVIDER:MODEL` names, its server and a key for it: the provider's own, or what `env` says.

    Raises: ValueError.
    """
    model = name.removeprefix(f"{provider}:")
    if model == name or not model.strip():
        raise ValueError(f"{name!r} names no model: write it like '{provider}:MODEL'.")
    base_url = _checked_url(url_name, env.get(url_name) or own_url)
    _proxy_to(base_url)
    api_key = env.get(key_name, "").strip()
    if not re.fullmatch("[!-~]*", api_key):
        raise ValueError(f"{key_name} is no key: there is something in it that no header can carry.")
    if not api_key and base_url == own_url:
        raise ValueError(f"{name!r} needs {key_name}, or {url_name} for a server of your own.")
    return model, base_url, api_key or "none"


def is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- bodies that are no stream ----------------------------------------------------------------------------------------
async def _events_at(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Give the chunks of a body that calls itself JSON: some servers call a stream so. Raises: LLMError.

    What is JSON indeed is an error that its server calls a success, or a whole answer, which nobody asked for.
    """
    chunks = response.content.iter_any()
    async for chunk in chunks:
        if start := chunk.lstrip():
            if start.startswith(b"{"):
                told = await _json_of(chunks, start)
                raise told_error(told["error"], response.headers) if told.get("error") else unreadable()
            yield start
            break
    async for chunk in chunks:
        yield chunk


async def _json_of(chunks: AsyncIterator[bytes], body: bytes = b"") -> dict[str, Any]:
    """Read the JSON of a body, as far as it is read at all."""
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_ERROR_BYTES:
            break
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


async def _refusal(response: aiohttp.ClientResponse) -> LLMError:
    told = await _json_of(response.content.iter_any())
    return refused(response.status, told.get("error", told), response.headers)
