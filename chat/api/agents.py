"""Who may be asked."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from chat.api.doors import Door, reply
from chat.api.pages import PageQuery, page
from chat.database import reading
from chat.errors import NotFound
from chat.models import Agent


class Agents(Door):
    async def get(self, query: PageQuery) -> HttpResponse:
        return reply(await reading(_list, self.request, query))


class OneAgent(Door):
    async def get(self, name: str) -> HttpResponse:
        return reply(await reading(_show, name))


def _list(request: HttpRequest, query: PageQuery) -> dict[str, Any]:
    return page(request, query, Agent.objects.all(), ("name",), Agent.as_data)


def _show(name: str) -> dict[str, Any]:
    agent = None if "\0" in name else Agent.objects.filter(pk=name).first()
    if agent is None:
        raise NotFound
    return dict(agent.as_data())
