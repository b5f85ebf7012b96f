"""Which sockets lead where."""

from collections.abc import Awaitable, Callable
from typing import Any

from django.urls import path, re_path

from chat.consumers import ChatConsumer


async def nowhere(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Refuse the handshake: without this, Channels answers it with an error of the server."""
    await receive()
    await send({"type": "websocket.close"})


websocket_urlpatterns = [
    path("ws/", ChatConsumer.as_asgi()),
    path("ws", ChatConsumer.as_asgi()),
    re_path("", nowhere),  # type: ignore[arg-type]  # any ASGI application will do
]
