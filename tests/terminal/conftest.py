"""What all tests of the terminal client share."""

import pytest

from chat.terminal import connection


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_DELAY_S", 0.02)
