"""Keys for programs."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from chat.actions import api_keys
from chat.api.doors import Door, done, reply
from chat.api.pages import PageQuery, page
from chat.database import reading, writing
from chat.models import ApiKey, User
from chat.protocol.commands import NewApiKey


class ApiKeys(Door):
    async def get(self, query: PageQuery) -> HttpResponse:
        return reply(await reading(_list, self.request, self.user, query))

    async def post(self, body: NewApiKey) -> HttpResponse:
        row, key = await writing(api_keys.create_key, self.user, body)
        return reply({**row.as_data(), "key": key}, 201)


class OneApiKey(Door):
    async def delete(self, key_id: UUID) -> HttpResponse:
        await writing(api_keys.delete_key, self.user, key_id)
        return done()


def _list(request: HttpRequest, user: User, query: PageQuery) -> dict[str, Any]:
    return page(request, query, ApiKey.objects.filter(user=user), ("-created_at", "-pk"), ApiKey.as_data)
