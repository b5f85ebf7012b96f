"""The server's application with less patience, and a window into its process: `/watched/` tells what it holds."""

import asyncio
import json
import os
import weakref
from typing import Any

from chatproject.asgi import application as application_of_ours  # isort: skip - it sets Django up

from django.conf import settings

from chat import auth, consumers, guests, inbound, limits, servers
from chat.api import streams
from chat.hub import hubs

streams.COMMENT_S = 0.2
if not os.environ.get("CHAT_TEST_PATIENT"):
    settings.CHAT_SLOW_S = 1.0
    guests.WATCH_S = auth.CHECK_S = 0.1
    consumers.GOODBYE_S = streams.GOODBYE_S = 0.3

largest_backlog = 0
_looking: set[asyncio.Task[None]] = set()
_requests: weakref.WeakSet[Any] = weakref.WeakSet()  # of daphne


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/watched/":
        await _tell(send)
        return
    if not _looking:
        _looking.add(asyncio.ensure_future(_look()))
    if scope["type"] == "http" and hasattr(send, "args"):
        _requests.add(send.args[0])
    await application_of_ours(scope, receive, send)


async def _look() -> None:
    """See how much the server itself ever holds for one socket, between the turns of the loop."""
    global largest_backlog
    while True:
        for daphnes in [*servers._protocols, *_requests]:
            largest_backlog = max(largest_backlog, inbound.backlog(daphnes.transport))
        await asyncio.sleep(0.002)


async def _tell(send: Any) -> None:
    names = ("ChatConsumer", "Subscription", "EventStream", "until_event")
    ours = [task for task in asyncio.all_tasks() if any(name in repr(task) for name in names)]
    held = {
        "hubs": len(hubs._hubs),
        "viewers": sum(len(hub.viewers) for hub in hubs._hubs.values()),
        "tasks": len(ours),
        "connections": sum(len(those) for those in limits._sockets.values()),
        "all_tasks": len(asyncio.all_tasks()),
        "largest_backlog": largest_backlog,
    }
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(held).encode()})
