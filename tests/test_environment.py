"""What an operator may write into the environment, and what is refused loudly."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from chatproject import environment


@pytest.mark.parametrize(("written", "days"), [("", 7), ("30", 30), ("0.5", 0.5), ("0", 0), ("43200s", 0.5), ("0s", 0)])
def test_a_time_to_keep_something_is_written_in_days_or_in_seconds(
    monkeypatch: pytest.MonkeyPatch, written: str, days: float
) -> None:
    monkeypatch.setenv("CHAT_RETENTION_DAYS", written)
    assert environment.days("CHAT_RETENTION_DAYS", 7) == days


@pytest.mark.parametrize(("written", "number"), [("", 5), ("2", 2), ("2.5", 2.5), ("60", 60)])
def test_a_number_is_taken_from_the_least_to_the_most(
    monkeypatch: pytest.MonkeyPatch, written: str, number: float
) -> None:
    monkeypatch.setenv("CHAT_LEASE_S", written)
    assert environment.number("CHAT_LEASE_S", 5, least=2, most=60) == number


@pytest.mark.parametrize("written", ["0", "-1", "1.9", "60.1", "1e300", "inf", "nan", "five"])
def test_what_is_out_of_bounds_is_refused_by_name_and_with_them(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("CHAT_LEASE_S", written)
    with pytest.raises(ImproperlyConfigured, match=r"CHAT_LEASE_S must be a number from 2 to 60; it is '" + written):
        environment.number("CHAT_LEASE_S", 5, least=2, most=60)


@pytest.mark.parametrize("written", ["0", "2.5", "10"])
def test_a_count_is_whole_and_within_its_bounds(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("CHAT_RUN_STEPS", written)
    with pytest.raises(ImproperlyConfigured, match="CHAT_RUN_STEPS"):
        environment.count("CHAT_RUN_STEPS", 5, least=1, most=9)


@pytest.mark.parametrize("written", ["-1", "-1s", "s", "ten", "tens", "nans", "infs", "1 d", "1e6", "1e12s"])
def test_what_is_no_time_is_refused(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("CHAT_RETENTION_DAYS", written)
    with pytest.raises(ImproperlyConfigured, match="CHAT_RETENTION_DAYS"):
        environment.days("CHAT_RETENTION_DAYS", 7)
