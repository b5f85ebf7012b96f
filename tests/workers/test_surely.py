"""Work on the database is done again while that is away, and never where it is wrong."""

import pytest
from django.db import InternalError
from psycopg.errors import IdleInTransactionSessionTimeout, InFailedSqlTransaction

from workers import surely


async def test_a_database_that_stood_still_in_a_transaction_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    monkeypatch.setattr(surely, "DATABASE_RETRY_S", 0)
    causes: list[Exception] = [IdleInTransactionSessionTimeout(), InFailedSqlTransaction()]

    def call() -> str:
        if causes:
            raise InternalError from causes.pop(0)
        return "done"

    with pytest.raises(InternalError) as raised:  # the second one is a mistake of our own: it comes back for ever
        await surely.surely(call)
    assert isinstance(raised.value.__cause__, InFailedSqlTransaction)
    assert await surely.surely(call) == "done"
