"""Operators in a browser: Olga may do everything, Ben is staff with the permissions he is given, Eve is not staff."""

import html
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.test import Client

from chat.models import ApiKey, AuditEntry, User
from tests.inside import Talk, db, redis, talk, told, worker_id
from tests.threads import threads

__all__ = ["db", "redis", "talk", "threads", "told", "worker_id"]


class Browser:
    """A person who is signed in, or nobody."""

    def __init__(self, user: User | None = None) -> None:
        self.user = user
        self.client = Client()
        if user is not None:
            self.client.force_login(user)

    def get(self, path: str, status: int = 200) -> str:
        response: Any = self.client.get(path)
        assert response.status_code == status, f"{path}: {response.status_code}"
        return html.unescape(response.content.decode())

    def text(self, path: str) -> str:
        """What a page says, without its tags."""
        return " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", self.get(path), flags=re.S).split())

    def post(self, path: str, data: dict[str, Any], status: int = 302) -> Any:
        response: Any = self.client.post(path, data)
        assert response.status_code == status, response.content.decode()[:2000]
        return response

    def act(self, noun: str, action: str, *rows: Any, status: int = 302, **more: Any) -> Any:
        """Do an action to some rows of a list."""
        chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows], "index": "0"}
        return self.post(f"/admin/chat/{noun}/", chosen | more, status)

    def told(self, noun: str) -> str:
        """What the last action was answered with."""
        return self.text(f"/admin/chat/{noun}/")


@pytest.fixture
def _cleared(db: None) -> Iterator[None]:
    yield
    LogEntry.objects.all().delete()
    AuditEntry.objects.all().delete()
    ApiKey.objects.all().delete()
    Session.objects.all().delete()
    Group.objects.all().delete()
    for user in User.objects.filter(user_permissions__isnull=False).distinct():
        user.user_permissions.clear()


@pytest.fixture
def olga(_cleared: None) -> Browser:
    return Browser(User.objects.create(username="olga", password="!", is_staff=True, is_superuser=True))


@pytest.fixture
def staff(_cleared: None) -> Callable[..., Browser]:
    """Make Ben staff, with some permissions."""

    def make(*names: str, user: User | None = None) -> Browser:
        user = user or User.objects.get_or_create(username="ben")[0]
        user.is_staff = True
        user.save()
        wanted = Permission.objects.filter(content_type__app_label="chat", codename__in=names)
        assert len(wanted) == len(names)
        user.user_permissions.set(wanted)
        return Browser(user)

    return make


def looks() -> list[tuple[str, str, str]]:
    """Who looked into what, in which session."""
    found = AuditEntry.objects.order_by("pk").values_list("username", "what", "session_id")
    return [(name, what, str(session_id)) for name, what, session_id in found]


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements of all threads: pages are made in threads of their own."""
    statements: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("execute", "executemany"):
            original = getattr(CursorWrapper, name)

            def execute(self: Any, sql: str, *args: Any, _original: Any = original) -> Any:
                statements.append(sql)
                return _original(self, sql, *args)

            patch.setattr(CursorWrapper, name, execute)
        yield statements


def is_sqlite() -> bool:
    return connection.vendor == "sqlite"


__all__ += ["Talk"]
