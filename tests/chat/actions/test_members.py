"""Who takes part in a session: what is not yours is not found, and no session is left without an owner."""

import pytest

from chat.actions import members
from chat.errors import Conflict, InvalidInput, NotAllowed, NotFound
from chat.models import Member, User
from chat.protocol.commands import NewMember
from tests.inside import Talk
from tests.threads import Threads


def roles(talk: Talk) -> dict[str, str]:
    return dict(Member.objects.filter(session_id=talk.pk).values_list("user__username", "role"))


def add(talk: Talk, by: User, username: str, role: str = "member") -> Member:
    return members.add_member(by, talk.pk, NewMember.model_validate({"username": username, "role": role}))


def test_an_owner_adds_somebody_and_everybody_is_told_who_and_as_what(talk: Talk, eve: User) -> None:
    add(talk, talk.ada, "eve", "viewer")
    assert roles(talk) == {"ada": "owner", "ben": "member", "eve": "viewer"}
    event = talk.log()[-1]
    assert event.type == "session.member_added"
    assert event.data["member"] == {"user_id": str(eve.pk), "username": "eve", "name": "eve", "role": "viewer"}
    assert event.data["session_id"] == str(talk.pk), "the whole session row, as in every event of a session"


def test_to_add_whoever_is_there_changes_the_role_or_nothing(talk: Talk) -> None:
    add(talk, talk.ada, "ben", "owner")
    assert roles(talk)["ben"] == "owner"
    before = talk.last_seq
    add(talk, talk.ada, "ben", "owner")
    assert talk.last_seq == before


def test_a_stranger_finds_nothing_and_a_member_adds_nobody(talk: Talk, eve: User) -> None:
    with pytest.raises(NotFound):
        add(talk, eve, "eve")
    with pytest.raises(NotAllowed):
        add(talk, talk.ben, "eve")
    with pytest.raises(NotFound):
        members.remove_member(eve, talk.pk, talk.ben.pk)
    assert roles(talk) == {"ada": "owner", "ben": "member"}


def test_nobody_who_does_not_exist_or_may_not_sign_in_is_added(talk: Talk, eve: User) -> None:
    User.objects.filter(pk=eve.pk).update(is_active=False)
    for username in ("nobody", "eve"):
        with pytest.raises(InvalidInput):
            add(talk, talk.ada, username)


def test_everybody_may_leave_and_only_an_owner_sends_away(talk: Talk, eve: User) -> None:
    add(talk, talk.ada, "eve")
    with pytest.raises(NotAllowed):
        members.remove_member(talk.ben, talk.pk, eve.pk)
    members.remove_member(talk.ben, talk.pk, talk.ben.pk)
    members.remove_member(talk.ada, talk.pk, eve.pk)
    assert roles(talk) == {"ada": "owner"}
    assert talk.log()[-1].data["member"]["username"] == "eve"
    with pytest.raises(NotFound):
        members.remove_member(talk.ada, talk.pk, eve.pk)
    with pytest.raises(NotFound):
        members.membership(talk.ben, talk.pk)


def test_the_last_owner_neither_leaves_nor_steps_down(talk: Talk) -> None:
    with pytest.raises(Conflict):
        members.remove_member(talk.ada, talk.pk, talk.ada.pk)
    with pytest.raises(Conflict):
        add(talk, talk.ada, "ada", "viewer")
    assert roles(talk)["ada"] == "owner"


def test_an_owner_who_may_not_sign_in_is_nobody_to_leave_a_session_to(talk: Talk) -> None:
    add(talk, talk.ada, "ben", "owner")
    User.objects.filter(pk=talk.ben.pk).update(is_active=False)
    with pytest.raises(Conflict):
        members.remove_member(talk.ada, talk.pk, talk.ada.pk)
    with pytest.raises(Conflict):
        add(talk, talk.ada, "ada", "member")
    members.remove_member(talk.ada, talk.pk, talk.ben.pk)
    assert roles(talk) == {"ada": "owner"}


def test_two_owners_who_leave_at_once_do_not_both_leave(talk: Talk, threads: Threads) -> None:
    add(talk, talk.ada, "ben", "owner")
    done = threads.at_once(
        *(lambda one=one: members.remove_member(one, talk.pk, one.pk) for one in (talk.ada, talk.ben))
    )
    assert sorted(type(one).__name__ for one in done) == ["Conflict", "NoneType"]
    assert list(roles(talk).values()) == ["owner"]
    if "ada" not in roles(talk):
        talk.ada = talk.ben  # whoever is left reads the log


def test_somebody_added_twice_at_once_is_there_once(talk: Talk, eve: User, threads: Threads) -> None:
    done = threads.at_once(lambda: add(talk, talk.ada, "eve"), lambda: add(talk, talk.ada, "eve"))
    assert [one.role for one in done] == ["member", "member"]
    assert talk.types().count("session.member_added") == 2  # Ben, and Eve once
    assert roles(talk)["eve"] == "member"
