"""A worker's metrics at a port of its own."""

import socket
from typing import Any

import pytest

from workers import watch


def test_a_port_that_is_taken_costs_the_metrics_alone(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings.CHAT_METRICS_PORT = other.getsockname()[1]
        watch.serve_metrics()
    assert "cannot be opened" in caplog.text
