"""Passes for WebSockets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from asgiref.sync import sync_to_async

from chat.actions.tickets import use_ticket
from tests.api.conftest import Caller


async def test_a_ticket_serves_its_owner_once_and_for_a_minute(ada: Caller, eve: Caller) -> None:
    bought = await ada.post("/api/ws-tickets/", None, 201)
    assert set(bought) == {"ticket", "expires_at"}
    left = datetime.fromisoformat(bought["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=55) < left <= timedelta(seconds=60)
    eves = await eve.post("/api/ws-tickets/", None, 201)
    assert await sync_to_async(use_ticket)(bought["ticket"]) == ada.user
    assert await sync_to_async(use_ticket)(bought["ticket"]) is None
    assert await sync_to_async(use_ticket)(eves["ticket"]) == eve.user
