"""`openai:MODEL`: any server that speaks OpenAI's chat completions, streamed, through pydantic-ai.

`OPENAI_BASE_URL` names the server (it ends in /v1), `OPENAI_API_KEY` the key; a local server needs none.
"""

import ipaddress
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import cache
from urllib.parse import urlsplit

import httpx2
from openai import APIError, AsyncOpenAI
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelConnectionError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRequestRejectedError,
    ModelTimeoutError,
)
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    UserPromptPart,
)
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from workers.llm.base import Limits, LLMError, Piece, Prompt, Reasoning, Spent, Text
from workers.llm.loops import client_here

_OPENAI_URL = "https://api.openai.com/v1"
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_TRY_AGAIN = {408, 409, 425, 429}


def open_model(name: str, limits: Limits, env: Mapping[str, str]) -> "OpenAIChat":
    """Open the model of that name. Raises: ValueError."""
    model = name.removeprefix("openai:")
    if model == name or not model.strip():
        raise ValueError(f"{name!r} names no model: write it like 'openai:MODEL'.")
    base_url = env.get("OPENAI_BASE_URL") or _OPENAI_URL
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("OPENAI_BASE_URL is no address: write it like 'http://127.0.0.1:8080/v1'.")
    api_key = env.get("OPENAI_API_KEY", "")
    if not api_key and base_url == _OPENAI_URL:
        raise ValueError(f"{name!r} needs OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own.")
    _load()
    return OpenAIChat(name, model, base_url, api_key or "none", limits.connect_s)


@cache
def _load() -> None:
    """Load what the libraries load late (a price list, half a second) now, not during an answer on the event loop."""
    _Server("http://127.0.0.1/v1", "none", 1.0).model("any")


class OpenAIChat:
    """One model of one server."""

    def __init__(self, name: str, model: str, base_url: str, api_key: str, connect_s: float) -> None:
        self.name = name
        self._model = model
        self._server = (base_url, api_key, connect_s)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yield what the server sends. Raises: LLMError."""
        model = client_here(("openai", *self._server), lambda: _Server(*self._server)).model(self._model)
        told = False
        try:
            async with model_request_stream(model, _messages(prompt)) as response:
                async for event in response:
                    if isinstance(event, PartDeltaEvent):
                        delta = event.delta
                        if isinstance(delta, TextPartDelta):
                            if delta.content_delta:
                                told = True
                                yield Text(delta.content_delta)
                        elif isinstance(delta, ThinkingPartDelta) and delta.content_delta:
                            yield Reasoning(delta.content_delta)
                    elif isinstance(event, PartStartEvent):
                        part = event.part
                        if isinstance(part, TextPart):
                            if part.content:
                                told = True
                                yield Text(part.content)
                        elif isinstance(part, ThinkingPart) and part.content:
                            yield Reasoning(part.content)
                finished, usage = response.finish_reason, response.usage
        except (AgentRunError, APIError, httpx2.HTTPError) as error:
            raise _as_llm_error(error) from error
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            # The SDK builds its objects without checking them: an odd but valid JSON breaks whoever reads it first.
            raise _unavailable("The language model sent something that cannot be read.") from error
        if usage.input_tokens or usage.output_tokens:
            yield Spent(usage.input_tokens, usage.output_tokens)
        if finished == "content_filter" and not told:
            raise LLMError("llm_rejected", "The language model refused to answer this.")


def _messages(prompt: Prompt) -> list[ModelMessage]:
    messages: list[ModelMessage] = []
    for said in prompt.talk:
        if said.role == "user":
            messages.append(ModelRequest([UserPromptPart(said.text)]))
        else:
            messages.append(ModelResponse([TextPart(said.text)]))
    last = messages[-1]
    if isinstance(last, ModelRequest):
        last.instructions = prompt.instructions or None
    return messages


class _Server:
    """The connections to one server, for one event loop."""

    def __init__(self, base_url: str, api_key: str, connect_s: float) -> None:
        # Only connecting is limited here: how long a model may think is `guarded.py`'s to say. And no limit on the
        # number of connections, whose default (100) would let run 101 wait for an answer that it never asked for.
        http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=connect_s or None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=50),
            trust_env=not _is_loopback(base_url),  # a proxy cannot reach our own machine
            headers={"Accept-Encoding": "identity"},  # a compressed stream arrives in lumps
            event_hooks={"response": [_expect_whole]},
        )
        self._client = AsyncOpenAI(
            base_url=base_url, api_key=api_key, http_client=http, max_retries=0, timeout=http.timeout
        )
        self._provider = OpenAIProvider(openai_client=self._client)
        self._models: dict[str, OpenAIChatModel] = {}

    def model(self, name: str) -> OpenAIChatModel:
        if name not in self._models:
            self._models[name] = OpenAIChatModel(name, provider=self._provider)
        return self._models[name]

    async def close(self) -> None:
        await self._client.close()


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _expect_whole(response: httpx2.Response) -> None:
    if response.status_code == 200 and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _WholeStream(response.stream)


class _WholeStream(httpx2.AsyncByteStream):
    """A body that is an error when it ends before the answer does, and none when it breaks off after.

    Some servers and proxies end a body that was cut in good order: only the missing finish reason shows it. (A server
    that gives none says [DONE]; the SDK reads no further than that.) In the text of an answer quotes are escaped, so
    it cannot look like a finish reason.
    """

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        tail, whole = b"", False
        try:
            async for chunk in self._stream:
                if not whole:
                    seen = tail + chunk
                    whole = _FINISHED.search(seen) is not None
                    tail = seen[-32:]
                yield chunk
        except httpx2.TransportError:
            if not whole:
                raise
        if not whole:
            raise httpx2.RemoteProtocolError("The stream ended before the answer did.")

    async def aclose(self) -> None:
        await self._stream.aclose()


def _as_llm_error(error: Exception) -> LLMError:
    """Say what went wrong in our own words; the provider's may hold a key, an address or a prompt."""
    if isinstance(error, ModelTimeoutError):
        return LLMError("llm_timeout", "The language model could not be reached in time.", temporary=True)
    if isinstance(error, ModelConnectionError):
        if error.phase == "connect":
            return _unavailable("The language model cannot be reached.")
        return _unavailable("The connection to the language model broke off.")
    if isinstance(error, ModelQuotaExceededError):
        return LLMError("llm_rejected", "The account for the language model has no quota left.")
    if isinstance(error, ModelHTTPError):
        if error.status_code >= 500 or error.status_code in _TRY_AGAIN:
            text = "is over its rate limit" if error.status_code == 429 else "is not available right now"
            return _unavailable(f"The language model {text}.", error.retry_after)
        return _rejected(error.status_code)
    if isinstance(error, ModelRequestRejectedError):
        return _rejected(None)
    if isinstance(error, ModelAPIError):
        status = getattr(error.__cause__, "status_code", None)  # a redirect: the address is not quite right
        if isinstance(status, int) and 300 <= status < 400:
            return _rejected(status)
        return _unavailable("The language model reported an error.", error.retry_after)
    return _unavailable("The language model sent something that cannot be read.")


def _unavailable(message: str, retry_after_s: float | None = None) -> LLMError:
    return LLMError("llm_unavailable", message, temporary=True, retry_after_s=retry_after_s)


def _rejected(status: int | None) -> LLMError:
    reasons = {401: "the key is not accepted", 403: "the key is not accepted", 404: "the model is not known there"}
    reason = reasons.get(status or 0, f"status {status}" if status else "it is not valid")
    return LLMError("llm_rejected", f"The language model refused the request: {reason}.")
