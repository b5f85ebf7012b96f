"""Keys for programs."""

from uuid import UUID

from django.http import HttpRequest

from chat.actions import api_keys
from chat.api.answers import Answer, Created, Done, raises
from chat.api.doors import Door
from chat.api.pages import PageQuery, page
from chat.database import reading, writing
from chat.errors import Conflict
from chat.models import ApiKey, User
from chat.protocol import ApiKeyData
from chat.protocol.commands import NewApiKey
from chat.protocol.shapes import NewApiKeyData, PageData


class ApiKeys(Door):
    async def get(self, query: PageQuery) -> Answer[PageData[ApiKeyData]]:
        """List one's keys, the newest first."""
        return Answer(await reading(_list, self.request, self.user, query))

    @raises(Conflict)
    async def post(self, body: NewApiKey) -> Created[NewApiKeyData]:
        """Make a key: this answer alone shows it."""
        row, key = await writing(api_keys.create_key, self.user, body)
        return Created({**row.as_data(), "key": key})


class OneApiKey(Door):
    async def delete(self, key_id: UUID) -> Done:
        """Make a key worthless."""
        await writing(api_keys.delete_key, self.user, key_id)
        return Done()


def _list(request: HttpRequest, user: User, query: PageQuery) -> PageData[ApiKeyData]:
    return page(request, query, ApiKey.objects.filter(user=user), ("-created_at", "-pk"), ApiKey.as_data)
