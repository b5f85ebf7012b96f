"""Passes for WebSockets: bought over HTTP, used once, for a minute."""

from datetime import timedelta

import pytest
from django.utils import timezone

from chat.actions import tickets
from chat.models import Ticket, User
from tests.threads import Threads


def buyer(secret: str) -> User | None:
    ticket = tickets.use_ticket(secret)
    return None if ticket is None else ticket.user


def test_a_ticket_is_its_buyers_and_good_once(ada: User) -> None:
    secret, expires_at = tickets.issue_ticket(ada)
    assert timedelta(seconds=55) < expires_at - timezone.now() <= timedelta(seconds=60)
    assert buyer(secret) == ada
    assert tickets.use_ticket(secret) is None


def test_a_ticket_used_by_two_at_once_lets_one_in(ada: User, threads: Threads) -> None:
    for _ in range(3):
        secret, _ = tickets.issue_ticket(ada)
        used = threads.at_once(*[lambda secret=secret: buyer(secret)] * 5)
        assert [user for user in used if user is not None] == [ada]


def test_the_table_holds_nothing_that_opens_a_socket(ada: User) -> None:
    secret, _ = tickets.issue_ticket(ada)
    row = Ticket.objects.get()
    assert secret not in str(vars(row))
    assert tickets.use_ticket(row.digest) is None


@pytest.mark.parametrize("secret", ["", "guess", "x" * 5000, "\0"])
def test_a_guess_opens_nothing(ada: User, secret: str) -> None:
    tickets.issue_ticket(ada)
    assert tickets.use_ticket(secret) is None


def test_a_ticket_that_ran_out_opens_nothing_and_is_gone(ada: User) -> None:
    secret, _ = tickets.issue_ticket(ada)
    Ticket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert tickets.use_ticket(secret) is None
    assert not Ticket.objects.exists()


def test_the_ticket_of_somebody_who_may_no_longer_sign_in_opens_nothing(ada: User) -> None:
    secret, _ = tickets.issue_ticket(ada)
    User.objects.update(is_active=False)
    assert tickets.use_ticket(secret) is None


def test_what_ran_out_is_swept_away(ada: User, ben: User) -> None:
    tickets.issue_ticket(ada)
    Ticket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    secret, _ = tickets.issue_ticket(ben)
    tickets.prune_tickets()
    assert Ticket.objects.count() == 1
    assert buyer(secret) == ben
