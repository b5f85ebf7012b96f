"""Usage: sums by day, agent, user and language model of what the filters leave."""

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from chat.actions import attempts
from chat.models import Usage
from tests.admin.conftest import Browser
from tests.inside import Talk

LIST = "/admin/chat/usage/"


def spend(talk: Talk, llm: str, tokens: int, by: str = "ada", days_ago: int = 0) -> None:
    run = talk.start(by=talk.ada if by == "ada" else talk.ben)
    attempts.finish_run(run, "There.", attempts.Spending(llm, tokens, tokens, Decimal("0.25")))
    Usage.objects.filter(run=run).update(created_at=timezone.now() - timedelta(days=days_ago))


def test_the_list_adds_up_by_day_agent_user_and_llm(talk: Talk, olga: Browser) -> None:
    spend(talk, "large", 100)
    spend(talk, "large", 10, by="ben")
    spend(talk, "small", 1, days_ago=1)
    page = olga.text(LIST)
    today, yesterday = (f"{timezone.now() - timedelta(days=days):%Y-%m-%d}" for days in (0, 1))
    assert f"{today} 2 110 110 0.5000 {yesterday} 1 1 1 0.2500" in page
    assert "assistant 3 111 111 0.7500" in page
    assert "ada 2 101 101 0.5000 ben 1 10 10 0.2500" in page
    assert "large 2 110 110 0.5000 small 1 1 1 0.2500" in page


def test_sums_are_of_thirty_days_unless_dates_are_chosen(talk: Talk, olga: Browser) -> None:
    spend(talk, "demo", 100)
    spend(talk, "old", 1, days_ago=40)
    assert "assistant 1 100 100" in olga.text(LIST)
    assert "assistant 2 101 101" in olga.text(f"{LIST}?created_at_from=2020-01-01")
    ended = f"{timezone.now() - timedelta(days=40):%Y-%m-%d}"
    assert "assistant 1 1 1" in olga.text(f"{LIST}?created_at_to={ended}"), "to the end of that day"


def test_sums_follow_the_filters(talk: Talk, olga: Browser) -> None:
    spend(talk, "demo", 100)
    spend(talk, "demo", 10, by="ben")
    page = olga.text(f"{LIST}?run__user__id__exact={talk.ben.pk}")
    assert "ben 1 10 10" in page and "ada 1" not in page
