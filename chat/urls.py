"""The paths of the chat. Those of the API end in a slash and work without it too."""

from typing import Any

from django.urls import URLPattern, path, re_path, register_converter
from django.urls.converters import UUIDConverter
from django.views.i18n import set_language

from chat.api import (
    agents,
    api_keys,
    auth,
    events,
    health,
    home,
    interrupts,
    members,
    messages,
    metrics,
    picture,
    runs,
    schema,
    sessions,
    tickets,
    tools,
)
from chat.api.doors import Door
from chat.api.errors import unknown_path


class AnyCase(UUIDConverter):
    """A UUID as whoever asks writes it, in capitals too, as on the socket: Django takes small letters alone."""

    regex = UUIDConverter.regex.replace("a-f", "a-fA-F")


register_converter(AnyCase, "id")


def at(route: str, door: type[Door], name: str | None = None) -> list[URLPattern]:
    view: Any = door.as_view()
    return [path(f"{route}/", view, name=name), path(route, view)]


SESSION = "api/sessions/<id:session_id>"
RUN = "api/runs/<id:run_id>"

urlpatterns: list[URLPattern] = [
    *at("healthz", health.Alive),
    *at("readyz", health.Ready),
    *at("metrics", metrics.Metrics),
    *at("api/auth/token", auth.Token),
    *at("api/auth/token/refresh", auth.TokenRefresh),
    *at("api/auth/token/revoke", auth.TokenRevoke),
    *at("api/ws-tickets", tickets.Tickets),
    *at("api/me", auth.Me),
    *at("api/api-keys", api_keys.ApiKeys),
    *at("api/api-keys/<id:key_id>", api_keys.OneApiKey),
    *at("api/sessions", sessions.Sessions),
    *at(SESSION, sessions.Session),
    *at(f"{SESSION}/close", sessions.Close),
    *at(f"{SESSION}/reopen", sessions.Reopen),
    *at(f"{SESSION}/members", members.Members),
    *at(f"{SESSION}/members/<id:user_id>", members.OneMember),
    *at(f"{SESSION}/messages", messages.Messages),
    *at("api/messages/<id:message_id>", messages.OneMessage),
    *at(f"{SESSION}/events", events.Events),
    *at(f"{SESSION}/runs", runs.Runs),
    *at(RUN, runs.OneRun),
    *at(f"{RUN}/cancel", runs.Cancel),
    *at(f"{RUN}/retry", runs.Retry),
    *at("api/interrupts", interrupts.Interrupts),
    *at("api/interrupts/<id:interrupt_id>/resolve", interrupts.Resolve),
    *at("api/agents", agents.Agents),
    *at("api/agents/<str:name>", agents.OneAgent),
    *at("api/tools", tools.Tools),
    *at("api/llms", tools.LLMs),
    *at("api/schema", schema.Schema, name="schema"),
    path("api/docs", home.docs),
    path("api/docs/", home.docs, name="docs"),
    re_path(r"^api(?:/|$)", unknown_path),
    path("login", home.sign_in),
    path("login/", home.sign_in, name="login"),
    path("logout", home.sign_out),
    path("logout/", home.sign_out, name="logout"),
    path("password/", home.change_password, name="password"),
    path("language/", set_language, name="language"),
    path("about/", home.about, name="about"),
    path("picture/", picture.picture, name="picture"),
    path("c/<uuid:session_id>/", home.home),
    path("c/<uuid:session_id>", home.home),
    path("", home.home, name="home"),
]
