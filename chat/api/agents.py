"""Who may be asked. Staff who may do so in the admin add, change and remove them."""

from django.http import HttpRequest

from chat.actions import agents
from chat.api.answers import Answer, Created, Done, raises
from chat.api.doors import Door
from chat.api.pages import PageQuery, page
from chat.database import reading, writing
from chat.errors import Conflict, NotFound
from chat.models import Agent, User
from chat.protocol import AgentData
from chat.protocol.commands import AgentChange, NewAgent
from chat.protocol.shapes import PageData


class Agents(Door):
    async def get(self, query: PageQuery) -> Answer[PageData[AgentData]]:
        """List who can be asked; for staff also who is switched off."""
        return Answer(await reading(_list, self.request, self.user, query))

    @raises(Conflict)
    async def post(self, body: NewAgent) -> Created[AgentData]:
        """Add an agent. Staff only."""
        return Created((await writing(agents.create_agent, self.user, body)).as_data())


class OneAgent(Door):
    async def get(self, name: str) -> Answer[AgentData]:
        """Show an agent."""
        return Answer(await reading(_show, self.user, name))

    async def patch(self, name: str, body: AgentChange) -> Answer[AgentData]:
        """Change an agent, or switch it off. Staff only."""
        return Answer((await writing(agents.update_agent, self.user, _stored(name), body)).as_data())

    @raises(Conflict)
    async def delete(self, name: str) -> Done:
        """Remove an agent that was never talked to. Staff only."""
        await writing(agents.delete_agent, self.user, _stored(name))
        return Done()


def _list(request: HttpRequest, user: User, query: PageQuery) -> PageData[AgentData]:
    return page(request, query, Agent.objects.visible_to(user), ("name",), Agent.as_data)


def _show(user: User, name: str) -> AgentData:
    agent = Agent.objects.visible_to(user).filter(pk=_stored(name)).first()
    if agent is None:
        raise NotFound
    return agent.as_data()


def _stored(name: str) -> str:
    """A name as a database takes it: of NUL, which Postgres refuses, no name is made."""
    return name.replace("\0", " ")
