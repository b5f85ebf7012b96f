"""Accounts: made, changed and made inactive, and no way up for those who may change them."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import Group, Permission

from chat.models import User
from tests.admin.conftest import Browser

FORM = {"username": "eve", "first_name": "Eve", "last_name": "", "email": "", "is_active": "on"}
Staff = Callable[..., Browser]


def test_an_account_is_made(olga: Browser, settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a good one takes a second
    secret = {"password1": "a long secret of mine", "password2": "a long secret of mine", "usable_password": "true"}
    olga.post("/admin/chat/user/add/", {"username": "new"} | secret)
    assert User.objects.get(username="new").check_password("a long secret of mine")


def test_an_account_is_made_inactive_and_not_deleted(olga: Browser, eve: User) -> None:
    olga.post(f"/admin/chat/user/{eve.pk}/change/", {**FORM, "is_active": ""})
    eve.refresh_from_db()
    assert (eve.first_name, eve.is_active) == ("Eve", False)
    olga.get(f"/admin/chat/user/{eve.pk}/delete/", 403)
    assert eve.username in olga.text("/admin/chat/user/?q=ev")
    assert eve.username in olga.text(f"/admin/chat/user/?q={eve.pk}")


def test_who_may_change_accounts_gives_nobody_more_power(staff: Staff, eve: User, ada: User) -> None:
    ben = staff("view_user", "change_user")
    powers = {"is_staff": "on", "is_superuser": "on", "user_permissions": ["1"]}
    ben.post(f"/admin/chat/user/{eve.pk}/change/", FORM | powers)
    eve.refresh_from_db()
    assert (eve.first_name, eve.is_staff, eve.is_superuser, eve.user_permissions.count()) == ("Eve", False, False, 0)


def test_only_a_superuser_says_what_a_group_may(staff: Staff, olga: Browser) -> None:
    names = ("add_group", "change_group", "delete_group", "view_group")
    ben = staff()
    assert ben.user is not None
    ben.user.user_permissions.set(Permission.objects.filter(codename__in=names))
    group = Group.objects.create(name="helpers")
    ben.user.groups.add(group)
    wanted = Permission.objects.get(codename="view_message")
    more = {"name": "helpers", "permissions": [str(wanted.pk)]}
    assert "helpers" in ben.text("/admin/auth/group/")
    ben.post(f"/admin/auth/group/{group.pk}/change/", more, 403)
    ben.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"}, 403)
    ben.post("/admin/auth/group/add/", more | {"name": "others"}, 403)
    assert list(Group.objects.values_list("name", "permissions")) == [("helpers", None)]
    olga.post(f"/admin/auth/group/{group.pk}/change/", more)
    assert list(group.permissions.all()) == [wanted]


def test_only_a_superuser_changes_those_who_are_staff(staff: Staff, olga: Browser) -> None:
    ben = staff("view_user", "change_user")
    assert olga.user is not None and ben.user is not None
    before = olga.user.password
    for somebody in (olga.user, ben.user):
        ben.post(f"/admin/chat/user/{somebody.pk}/change/", FORM, 403)
        ben.post(f"/admin/chat/user/{somebody.pk}/password/", {"password1": "x" * 20, "password2": "x" * 20}, 403)
    olga.user.refresh_from_db()
    assert olga.user.password == before


def test_passwords_are_shown_nowhere(olga: Browser, eve: User) -> None:
    digest = "aVeryRecognisableDigestOfAPassword="
    User.objects.filter(pk=eve.pk).update(password="pbkdf2_sha256$1$salt$" + digest)
    for path in (f"/admin/chat/user/{eve.pk}/change/", "/admin/chat/user/"):
        assert digest not in olga.get(path)
