"""Whom one may ask again: nobody whom one could not ask."""

from typing import Any

import pytest

from chat.actions import runs
from chat.errors import InvalidInput
from chat.models import Agent, Run, User
from tests.chat.actions.test_runs import fails
from tests.inside import Talk


def test_to_ask_again_is_no_way_to_an_agent_that_one_may_not_see(talk: Talk) -> None:
    Agent.objects.create(name="sec", visibility="staff")
    User.objects.filter(pk=talk.ada.pk).update(is_staff=True)
    talk.ada.refresh_from_db()
    failed = fails(talk.start("@sec look", agent="sec"))
    with pytest.raises(InvalidInput) as refused:
        talk.retry(failed.pk, talk.ben)
    assert refused.value.fields == {"agent": "unknown"}
    assert talk.retry(failed.pk).run.agent_id == "sec"


def test_the_sessions_own_agent_is_asked_again_by_whoever_may_write_there(talk: Talk) -> None:
    Agent.objects.filter(pk=talk.session.agent_id).update(visibility="staff")
    try:
        assert talk.retry(fails(talk.start()).pk, talk.ben).run.status == Run.Status.QUEUED
    finally:
        Agent.objects.filter(pk=talk.session.agent_id).update(visibility="everyone")


def test_an_agent_that_was_switched_off_is_not_asked_again_by_an_operator_either(talk: Talk) -> None:
    Agent.objects.create(name="off")
    failed = fails(talk.start(agent="off"))
    Agent.objects.filter(name="off").update(enabled=False)
    with pytest.raises(InvalidInput):
        talk.retry(failed.pk)
    with pytest.raises(InvalidInput):
        runs.retry_as_operator(talk.ada, failed.pk)


def test_an_llm_that_is_offered_no_more_is_not_asked_again(talk: Talk, settings: Any) -> None:
    settings.CHAT_LLMS = ["demo?tokens=5"]
    failed = fails(talk.start(llm="demo?tokens=5"))
    settings.CHAT_LLMS = []
    with pytest.raises(InvalidInput) as refused:
        talk.retry(failed.pk)
    assert refused.value.fields == {"llm": "unknown"}
