"""Which sockets lead where."""

from django.urls import path

from chat.consumers import ChatConsumer

websocket_urlpatterns = [path("ws/", ChatConsumer.as_asgi()), path("ws", ChatConsumer.as_asgi())]
