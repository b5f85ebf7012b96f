"""Stock Channels, as its tutorial builds a chat: a consumer, a group, Redis' pub/sub layer. `publish` tells the group.

It runs in this project's own environment, so that both use the same versions of everything.
"""

import asyncio
import json
import os
import sys
from typing import Any

from django.conf import settings

settings.configure(
    SECRET_KEY="benchmark",
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
        }
    },
)

import django

django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path


class Room(AsyncJsonWebsocketConsumer):
    groups = ["room"]

    async def connect(self) -> None:
        await self.accept()
        await self.send_json({"type": "joined"})

    async def frame(self, message: dict[str, Any]) -> None:
        await self.send_json(message["frame"])


application = ProtocolTypeRouter({"websocket": URLRouter([path("ws/", Room.as_asgi())])})


async def publish() -> None:
    layer = get_channel_layer()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        for frame in json.loads(line)["frames"]:
            await layer.group_send("room", {"type": "frame", "frame": frame})
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(publish())
