"""What the tests of the conversation share."""

import pytest
from django.db import connection

from tests.chat.published import live
from tests.inside import db, redis, talk, worker_id
from tests.threads import threads

__all__ = ["db", "live", "redis", "talk", "threads", "worker_id"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if connection.vendor == "sqlite":
        for item in items:
            if item.get_closest_marker("postgres") and item.path.is_relative_to(__file__.rpartition("/")[0]):
                item.add_marker(
                    pytest.mark.skip(reason="SQLite has one writer at a time, and no transaction that only reads")
                )
