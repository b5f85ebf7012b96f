"""The limit of messages, asked for on an event loop: nobody waits there long for Redis."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest

from chat import limits
from chat.errors import RateLimited
from chat.outbox import outbox
from tests.processes import PATIENCE
from tests.servers import Redis


@pytest.fixture(autouse=True)
def three(redis: Any, settings: Any) -> None:
    settings.CHAT_MESSAGES_PER_10S = 3


async def spend() -> limits.Spent | None:
    return await limits.spend_message("ada", "s", uuid4().hex)


async def test_a_redis_that_was_restarted_is_asked_once_more_before_it_is_given_up(redis_server: Redis) -> None:
    await spend()
    redis_server.kill()
    redis_server.start()
    await spend()
    assert not outbox.is_broken, "a pooled connection had died, and that is all"


async def test_a_redis_that_does_not_answer_is_left_alone_and_the_count_goes_on_here(redis_server: Redis) -> None:
    redis_server.freeze()
    began = time.monotonic()
    for _ in range(3):
        await spend()
    with pytest.raises(RateLimited):
        await spend()
    assert time.monotonic() - began < 0.3 * PATIENCE, "one of them has waited, and a tenth of a second"
    assert outbox.is_broken
    outbox.recover()


async def test_a_loop_that_stood_does_not_take_a_quick_redis_for_one_that_is_away(redis: Any) -> None:
    """All the process's frames and doorbells would be held back for a second, and the limit be its own."""
    for steps in range(1, 16):  # wherever in the asking it is that the loop stands
        spending = asyncio.ensure_future(limits.spend_message("ada", uuid4(), "one"))
        for _ in range(steps):
            await asyncio.sleep(0)
        time.sleep(limits.PATIENCE_S * 1.5)  # noqa: ASYNC251 - it is what is tested
        await spending
        assert not outbox.is_broken
