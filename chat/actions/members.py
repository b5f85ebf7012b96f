"""Who takes part in a session."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from chat.actions.events import Log, action, locked
from chat.errors import Conflict, InvalidInput, NotAllowed, NotFound
from chat.models import Member, User
from chat.prepared import Asked, Given, Prepared, together
from chat.protocol.commands import NewMember

_MEMBER = Prepared(lambda: Member.objects.filter(session_id=Given("session_id"), user_id=Given("user_id")))


def membership(user: User, session_id: UUID, *also: Asked[Any]) -> Member:
    """The member that a user is in a session. Raises `NotFound`: what is not yours does not exist for you.

    `also` is asked in the same round trip.
    """
    asked = asked_member(user, session_id)
    together(asked, *also)
    return member_of(asked)


def asked_member(user: User, session_id: UUID) -> Asked[Member]:
    return _MEMBER.ask(session_id=session_id, user_id=user.pk)


def member_of(asked: Asked[Member]) -> Member:
    if asked.first is None:
        raise NotFound
    return asked.first


def writer(user: User, session_id: UUID, *also: Asked[Any]) -> Member:
    """Likewise, of somebody who may write. Raises `NotFound`, `NotAllowed`."""
    return as_writer(membership(user, session_id, *also))


def as_writer(member: Member) -> Member:
    if not member.may_write:
        raise NotAllowed
    return member


def owner(user: User, session_id: UUID) -> Member:
    """Likewise, of an owner. Raises `NotFound`, `NotAllowed`."""
    return as_owner(membership(user, session_id))


def as_member(member: Member) -> Member:
    return member


def as_owner(member: Member) -> Member:
    if member.role != Member.Role.OWNER:
        raise NotAllowed("Only an owner of the session may do this.")
    return member


@contextmanager
def locked_by(
    user: User,
    session_id: UUID,
    *also: Asked[Any],
    by_operator: bool = False,
    who: Callable[[Member], Member] = as_writer,
) -> Iterator[Log]:
    """`locked`, for a member who may do this now. Raises `NotFound`, `NotAllowed`.

    The lock reads membership again: somebody may have been removed while they waited for it.
    """
    if by_operator:
        with locked(session_id, *also) as log:
            yield log
        return
    member = asked_member(user, session_id)
    with locked(session_id, member, *also) as log:
        who(member_of(member))
        yield log


@action
def add_member(user: User, session_id: UUID, new: NewMember, *, by_operator: bool = False) -> Member:
    """Add somebody, or change the role of one who is there; an operator does only the latter."""
    if not by_operator:
        owner(user, session_id)
    other = User.objects.filter(username=new.username, is_active=True).first()
    if other is None:
        raise InvalidInput("There is no such user.", fields={"username": "unknown"})
    with locked_by(user, session_id, by_operator=by_operator, who=as_owner) as log:
        member = Member.objects.select_related("user").filter(session_id=session_id, user=other).first()
        if member is None and by_operator:
            raise NotFound("They are no member any more.")  # taken out, after the operator's page was made
        if member is None:
            member = Member.objects.create(session_id=session_id, user=other, role=new.role)
        elif member.role != new.role:
            if member.role == Member.Role.OWNER:
                _refuse_to_orphan(session_id, member)
            Member.objects.filter(pk=member.pk).update(role=new.role)
            member.role = new.role
        else:
            return member
        log.append_event("session.member_added", extra={"member": {**other.as_data(), "role": new.role}})
    return member


@action
def remove_member(user: User, session_id: UUID, user_id: UUID, *, by_operator: bool = False) -> None:
    """Take somebody out: an owner anybody, everybody themselves."""
    who = as_owner if user_id != user.pk else as_member
    if not by_operator:
        who(membership(user, session_id))
    with locked_by(user, session_id, by_operator=by_operator, who=who) as log:
        member = Member.objects.select_related("user").filter(session_id=session_id, user_id=user_id).first()
        if member is None:
            raise NotFound
        if member.role == Member.Role.OWNER:
            _refuse_to_orphan(session_id, member)
        member.delete()
        log.append_event("session.member_removed", extra={"member": {**member.user.as_data(), "role": member.role}})


def _refuse_to_orphan(session_id: UUID, member: Member) -> None:
    others = Member.objects.filter(session_id=session_id, role=Member.Role.OWNER).exclude(pk=member.pk)
    if member.user.is_active:
        others = others.filter(user__is_active=True)
    if not others.exists():
        raise Conflict("A session needs an owner: make somebody else one first, or delete it.")
