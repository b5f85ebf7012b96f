"""Celery's consumer, which waits a moment before it asks a Redis again that answered and refused."""

import time

from celery.worker import consumer
from redis.exceptions import ResponseError

PAUSE_S = 1.0


class Consumer(consumer.Consumer):
    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, ResponseError):
            # It would take the new connection at once and refuse again. Doorbells are lost meanwhile anyway, and the
            # sweep looks about as often.
            time.sleep(PAUSE_S)
