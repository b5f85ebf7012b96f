"""Members: roles are changed and people taken out through the actions that tell everybody."""

from typing import Any

import pytest

from chat.actions import members as actions
from chat.models import Member
from tests.admin.conftest import Browser, looks
from tests.inside import Talk


def member(talk: Talk, name: str) -> Member:
    return Member.objects.get(session_id=talk.pk, user__username=name)


def test_a_role_is_changed_with_its_event(talk: Talk, olga: Browser) -> None:
    before = talk.last_seq
    olga.act("member", "make_viewer", member(talk, "ben"))
    assert "1 member: made viewer." in olga.told("member")
    assert talk.types(before) == ["session.member_added"]
    assert talk.log(before)[0].data["member"]["role"] == member(talk, "ben").role == "viewer"
    olga.act("member", "make_viewer", member(talk, "ben"))
    assert "1 member: viewer already." in olga.told("member")
    assert ("olga", "make viewer", str(talk.pk)) in looks()


def test_a_change_of_role_brings_nobody_back_who_was_just_taken_out(
    talk: Talk, olga: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = actions.add_member

    def change_late(*args: Any, **more: Any) -> Member:
        actions.remove_member(talk.ada, talk.pk, talk.ben.pk)
        return change(*args, **more)

    monkeypatch.setattr(actions, "add_member", change_late)
    before = talk.last_seq
    olga.act("member", "make_viewer", member(talk, "ben"))
    assert "1 member: not done: They are no member any more." in olga.told("member")
    assert not Member.objects.filter(session_id=talk.pk, user=talk.ben).exists()
    assert talk.types(before) == ["session.member_removed"]


def test_somebody_is_taken_out_with_an_event(talk: Talk, olga: Browser) -> None:
    before = talk.last_seq
    olga.act("member", "remove", member(talk, "ben"))
    assert "1 member: taken out." in olga.told("member")
    assert talk.types(before) == ["session.member_removed"]


def test_no_session_loses_its_last_owner(talk: Talk, olga: Browser) -> None:
    for action in ("make_member", "remove"):
        olga.act("member", action, member(talk, "ada"))
        assert "1 member: not done: A session needs an owner" in olga.told("member")
    assert member(talk, "ada").role == "owner"


def test_members_are_not_deleted_past_their_events(talk: Talk, olga: Browser) -> None:
    olga.get(f"/admin/chat/member/{member(talk, 'ben').pk}/delete/", 403)
    page = olga.get("/admin/chat/member/")
    assert "delete_selected" not in page and "make_owner" in page
