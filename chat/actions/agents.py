"""Agents are the server's, and nobody's talk: whoever may change them in the admin may do it by the API as well."""

from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import ProtectedError
from django.utils import timezone

from chat.actions.events import action
from chat.errors import Conflict, InvalidInput, NotAllowed, NotFound
from chat.models import Agent, User
from chat.protocol.commands import AgentChange, NewAgent


@action
def create_agent(user: User, new: NewAgent) -> Agent:
    """Raises `NotAllowed`, `Conflict` where the name is taken, `InvalidInput`."""
    _allow(user, "add")
    with transaction.atomic():
        if Agent.objects.filter(pk=new.name).exists():
            raise Conflict("There is an agent of that name.", fields={"name": "taken"})
        agent = Agent(**new.model_dump())
        _check(agent)
        agent.save(force_insert=True)
        _note(user, agent, ADDITION, [{"added": {}}])
    return agent


@action
def update_agent(user: User, name: str, change: AgentChange) -> Agent:
    """Runs that have begun go on as they were. Raises `NotAllowed`, `NotFound`, `InvalidInput`."""
    _allow(user, "change")
    with transaction.atomic():
        agent = _locked(name)
        told = change.model_dump(exclude_unset=True)
        new = {name: value for name, value in told.items() if getattr(agent, name) != value}
        if new:
            for column, value in new.items():
                setattr(agent, column, value)
            agent.updated_at = timezone.now()
            _check(agent)
            agent.save()
            _note(user, agent, CHANGE, [{"changed": {"fields": sorted(new)}}])
    return agent


@action
def delete_agent(user: User, name: str) -> None:
    """Remove an agent that nobody has talked to. Raises `NotAllowed`, `NotFound`, `Conflict`."""
    _allow(user, "delete")
    with transaction.atomic():
        agent = _locked(name)
        if name == Agent.DEFAULT:
            raise Conflict("New sessions begin with this agent: it stays.")
        _note(user, agent, DELETION, [{"deleted": {}}])
        try:
            agent.delete()
        except ProtectedError:
            raise Conflict("Sessions refer to this agent: switch it off (enabled: false) instead.") from None


def _locked(name: str) -> Agent:
    agent = Agent.objects.select_for_update(no_key=True).filter(pk=name).first()
    if agent is None:
        raise NotFound
    return agent


def _allow(user: User, what: str) -> None:
    """Before anything is looked up: who may not change agents learns nothing of those that they do not see."""
    if not (user.is_staff and user.has_perm(f"chat.{what}_agent")):
        raise NotAllowed(f"Agents are for staff who have the permission to {what} them.")


def _check(agent: Agent) -> None:
    try:
        agent.full_clean(validate_unique=False)
    except ValidationError as problem:
        fields = {name: " ".join(told) for name, told in problem.message_dict.items()}
        raise InvalidInput(f"The input is not valid: {', '.join(fields)}.", fields=fields) from None


def _note(user: User, agent: Agent, kind: int, what: list[dict[str, Any]]) -> None:
    """Write into the history that the admin shows: it is one, whichever way a change came."""
    LogEntry.objects.log_actions(user.pk, [agent], kind, what, single_object=True)
