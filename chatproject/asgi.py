"""The ASGI application: HTTP to Django, sockets to the consumer."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")

from django.core.asgi import get_asgi_application

http = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.signals import request_started
from django.db import close_old_connections, reset_queries
from django.urls import get_resolver

from chat import database, loaded, servers
from chat.api.built import built
from chat.routing import websocket_urlpatterns
from chatproject import logs, traces

# Django gives every request a thread to run these two in, and keeps it until the answer is out: a request that waits a
# minute would hold one. A new thread has neither old connections nor queries, and the end of a request still closes.
request_started.disconnect(close_old_connections)
request_started.disconnect(reset_queries)

logs.begin("web")
traces.begin("web")
database.hurry()
servers.watch_shutdown()
application = servers.aware(
    ProtocolTypeRouter({"http": traces.traced(http), "websocket": URLRouter(websocket_urlpatterns)})
)
# Now, and not at the first request: the page has to be that of the files, which were listed above.
built()
assert get_resolver().url_patterns
loaded.settle()
