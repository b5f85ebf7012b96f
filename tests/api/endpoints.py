"""Every endpoint that needs a sign-in, for the claims that hold for all of them."""

from typing import Any, NamedTuple


class Endpoint(NamedTuple):
    method: str
    path: str
    body: Any = None

    def at(self, **ids: str) -> str:
        return self.path.format(**ids)


# Of one session and what is in it: for a stranger none of them exists.
OF_A_SESSION = [
    Endpoint("GET", "/api/sessions/{session_id}/"),
    Endpoint("PATCH", "/api/sessions/{session_id}/", {"title": "mine"}),
    Endpoint("DELETE", "/api/sessions/{session_id}/"),
    Endpoint("POST", "/api/sessions/{session_id}/close/"),
    Endpoint("POST", "/api/sessions/{session_id}/reopen/"),
    Endpoint("GET", "/api/sessions/{session_id}/members/"),
    Endpoint("POST", "/api/sessions/{session_id}/members/", {"username": "eve", "role": "owner"}),
    Endpoint("DELETE", "/api/sessions/{session_id}/members/{user_id}/"),
    Endpoint("GET", "/api/sessions/{session_id}/messages/"),
    Endpoint("POST", "/api/sessions/{session_id}/messages/", {"content": "hi"}),
    Endpoint("GET", "/api/messages/{message_id}/"),
    Endpoint("PATCH", "/api/messages/{message_id}/", {"content": "other"}),
    Endpoint("GET", "/api/sessions/{session_id}/events/"),
    Endpoint("GET", "/api/sessions/{session_id}/runs/"),
    Endpoint("GET", "/api/runs/{run_id}/"),
    Endpoint("PATCH", "/api/runs/{run_id}/", {"before": None}),
    Endpoint("POST", "/api/runs/{run_id}/cancel/"),
    Endpoint("POST", "/api/runs/{run_id}/retry/"),
]
OF_NO_SESSION = [
    Endpoint("GET", "/api/me/"),
    Endpoint("POST", "/api/ws-tickets/"),
    Endpoint("GET", "/api/sessions/"),
    Endpoint("POST", "/api/sessions/", {}),
    Endpoint("GET", "/api/interrupts/"),
    Endpoint("POST", "/api/interrupts/{session_id}/resolve/", {"answer": {"approved": True}}),
    Endpoint("GET", "/api/api-keys/"),
    Endpoint("POST", "/api/api-keys/", {"name": "a program"}),
    Endpoint("DELETE", "/api/api-keys/{session_id}/"),
    Endpoint("GET", "/api/agents/"),
    Endpoint("POST", "/api/agents/", {"name": "expert"}),
    Endpoint("GET", "/api/agents/assistant/"),
    Endpoint("PATCH", "/api/agents/assistant/", {"title": "mine"}),
    Endpoint("DELETE", "/api/agents/assistant/"),
    Endpoint("GET", "/api/tools/"),
    Endpoint("GET", "/api/llms/"),
]
ALL = OF_A_SESSION + OF_NO_SESSION


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"
