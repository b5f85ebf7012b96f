"""Kombu's Redis transport, which lives on when a message in the queue is no message, or Redis takes no more.

The stock one lets either error end the worker, with all the answers that it is writing. What cannot be read is gone
from the queue by then, and it cannot have been a doorbell of ours. A Redis that refuses (it is full, a replica now,
without a replica, or cannot write its file) is as good as one that is away: try again later.
"""

import logging
from typing import Any

from kombu.transport import redis
from redis.exceptions import ResponseError

log = logging.getLogger(__name__)


class Channel(redis.Channel):
    def _brpop_read(self, **options: Any) -> Any:
        open_before = set(self.qos._delivered or ())
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # kombu has no types
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as problem:
            log.error("what lay in the queue is no message: %s", type(problem).__name__)
            for tag in set(self.qos._delivered or ()) - open_before:
                self.qos.ack(tag)  # nobody else will, and it would keep its place among those that may be open
            return True  # something was read


class Transport(redis.Transport):
    Channel = Channel
    connection_errors = (*redis.Transport.connection_errors, ResponseError)
