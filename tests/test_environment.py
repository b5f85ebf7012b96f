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


@pytest.mark.parametrize("written", ["-1", "-1s", "s", "ten", "tens", "nans", "infs", "1 d"])
def test_what_is_no_time_is_refused(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("CHAT_RETENTION_DAYS", written)
    with pytest.raises(ImproperlyConfigured, match="CHAT_RETENTION_DAYS"):
        environment.days("CHAT_RETENTION_DAYS", 7)
