"""The page about HTTP and the paths of the server are the same."""

import re
from pathlib import Path

from django.urls import URLPattern

from chat.api.doors import METHODS
from chat.urls import urlpatterns

PAGE = Path(__file__).parents[2] / "docs" / "http.md"


def _served() -> set[tuple[str, str]]:
    found = set()
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        door = getattr(pattern.callback, "view_class", None)
        route = "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern))
        if route.startswith(("/api", "/healthz", "/readyz", "/metrics")) and door is not None:
            found |= {(method, route) for method in METHODS if hasattr(door, method.lower())}
    return found


def test_every_path_is_described_and_every_described_one_is_served() -> None:
    described = set(re.findall(r"^\| `([A-Z]+) (/\S*)` \|", PAGE.read_text(), re.M))
    assert described == {(method, route) for method, route in _served() if route.endswith("/")}


def test_every_path_is_served_without_its_slash_too() -> None:
    routes = {route for _, route in _served()}
    assert {route for route in routes if not route.endswith("/")} == {route.rstrip("/") for route in routes}
