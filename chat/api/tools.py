"""What agents can be given: the tools that the workers have, and the language models on offer."""

from django.conf import settings
from django.http import HttpRequest

from chat.api.answers import Answer
from chat.api.doors import Door
from chat.api.pages import PageQuery, page
from chat.database import reading
from chat.models import Tool
from chat.protocol import ToolData
from chat.protocol.shapes import LLMData, PageData


class Tools(Door):
    async def get(self, query: PageQuery) -> Answer[PageData[ToolData]]:
        """List the tools that the workers have."""
        return Answer(await reading(_list, self.request, query))


class LLMs(Door):
    async def get(self) -> Answer[PageData[LLMData]]:
        """List the language models that a message may choose, the server's own first."""
        names = dict.fromkeys([settings.CHAT_LLM, *settings.CHAT_LLMS])
        offered: list[LLMData] = [{"name": name, "default": name == settings.CHAT_LLM} for name in names]
        return Answer({"results": offered, "next": None, "previous": None})


def _list(request: HttpRequest, query: PageQuery) -> PageData[ToolData]:
    return page(request, query, Tool.objects.all(), ("name",), Tool.as_data)
