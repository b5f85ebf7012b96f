"""`manage.py adduser`: an account, or a clear error and exit code 1."""

import getpass
import io
import sys
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from chat.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_PASSWORD", "a long and rare one")


def add(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("adduser", *arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def test_it_makes_an_account_that_can_sign_in_and_is_no_staff() -> None:
    assert add("ada") == ("ada can sign in now.\n", "")
    ada = User.objects.get(username="ada")
    assert ada.check_password("a long and rare one")
    assert (ada.is_staff, ada.is_superuser) == (False, False)


def test_staff_may_enter_the_admin_and_is_no_superuser() -> None:
    add("ada", "--staff")
    ada = User.objects.get(username="ada")
    assert (ada.is_staff, ada.is_superuser) == (True, False)


def test_a_taken_name_is_an_error_and_changes_nothing(ada: User) -> None:
    before = ada.password
    with pytest.raises(CommandError, match="The name 'ada' is taken") as raised:
        add("ada")
    ada.refresh_from_db()
    assert (raised.value.returncode, ada.password) == (1, before)


def test_a_name_that_is_none_is_an_error() -> None:
    for name in ("", "two words", "x" * 200):
        with pytest.raises(CommandError, match="is not a name"):
            add(name)


def test_a_weak_password_is_taken_with_a_warning_in_local_mode(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.LOCAL = True
    monkeypatch.setenv("CHAT_PASSWORD", "123")
    out, err = add("ada")
    assert (out, User.objects.get(username="ada").check_password("123")) == ("ada can sign in now.\n", True)
    assert "too short" in err


def test_a_weak_password_is_refused_in_production(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.LOCAL = False
    for weak in ("123", "ada-lovelace"):
        monkeypatch.setenv("CHAT_PASSWORD", weak)
        with pytest.raises(CommandError, match="too"):
            add("ada-lovelace")
    assert not User.objects.filter(username="ada-lovelace").exists()


def test_without_a_terminal_the_password_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT_PASSWORD")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(CommandError, match="CHAT_PASSWORD"):
        add("ada")


def test_on_a_terminal_it_is_asked_for_twice_and_must_be_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.delenv("CHAT_PASSWORD")
    typed = ["one long password", "another password", "one long password", "one long password"]
    monkeypatch.setattr(getpass, "getpass", lambda prompt: typed.pop(0))
    with pytest.raises(CommandError, match="differ"):
        add("ada")
    add("ada")
    assert User.objects.get(username="ada").check_password("one long password")
