"""The demo account: there in local mode alone, and never touched once it is there."""

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from chat.models import User

pytestmark = pytest.mark.django_db


def test_it_may_see_the_admin() -> None:
    call_command("ensure_demo")
    demo = User.objects.get(username="demo")
    assert demo.is_staff and demo.is_superuser and demo.check_password("demo")


def test_a_changed_password_stays() -> None:
    call_command("ensure_demo")
    demo = User.objects.get(username="demo")
    demo.set_password("another")
    demo.save()
    call_command("ensure_demo")
    demo.refresh_from_db()
    assert demo.check_password("another")


def test_production_has_none(settings: Settings) -> None:
    settings.LOCAL = False
    with pytest.raises(CommandError):
        call_command("ensure_demo")
    assert not User.objects.filter(username="demo").exists()
