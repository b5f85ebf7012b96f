"""Who may be asked."""

from django.http import HttpRequest

from chat.api.answers import Answer
from chat.api.doors import Door
from chat.api.pages import PageQuery, page
from chat.database import reading
from chat.errors import NotFound
from chat.models import Agent
from chat.protocol import AgentData
from chat.protocol.shapes import PageData


class Agents(Door):
    async def get(self, query: PageQuery) -> Answer[PageData[AgentData]]:
        """List who can be asked."""
        return Answer(await reading(_list, self.request, query))


class OneAgent(Door):
    async def get(self, name: str) -> Answer[AgentData]:
        """Show an agent."""
        return Answer(await reading(_show, name))


def _list(request: HttpRequest, query: PageQuery) -> PageData[AgentData]:
    return page(request, query, Agent.objects.all(), ("name",), Agent.as_data)


def _show(name: str) -> AgentData:
    agent = None if "\0" in name else Agent.objects.filter(pk=name).first()
    if agent is None:
        raise NotFound
    return agent.as_data()
