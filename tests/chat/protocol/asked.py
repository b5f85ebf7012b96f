"""A command as a client sends it, and the refusal of one."""

import json
from typing import Any
from uuid import uuid4

import pytest

from chat.protocol import Command, read_command
from chat.protocol.commands import Unreadable

ID = str(uuid4())


def command(type: str, ref: Any = "7", **data: Any) -> Command:
    return read_command(json.dumps({"type": type, "ref": ref, "data": data}))


def refusal(text: str) -> Unreadable:
    with pytest.raises(Unreadable) as refused:
        read_command(text)
    assert refused.value.code == "invalid_input"
    return refused.value
