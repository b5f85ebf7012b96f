"""The wire, typed: commands in, frames and shapes out. Nothing else knows what a frame looks like."""

from chat.protocol.commands import COMMANDS, Command, read_body, read_command
from chat.protocol.frames import Delta, Frame, Reader, error, live, ok, pong, ready, server_sent, typing
from chat.protocol.shapes import (
    AgentData,
    ApiKeyData,
    AuthorData,
    InterruptData,
    MemberData,
    MessageData,
    RunData,
    SessionData,
    ToolCallData,
    UserData,
    text_or_none,
    time,
    time_or_none,
)

__all__ = [
    "COMMANDS",
    "AgentData",
    "ApiKeyData",
    "AuthorData",
    "Command",
    "Delta",
    "Frame",
    "InterruptData",
    "MemberData",
    "MessageData",
    "Reader",
    "RunData",
    "SessionData",
    "ToolCallData",
    "UserData",
    "error",
    "live",
    "ok",
    "pong",
    "read_body",
    "read_command",
    "ready",
    "server_sent",
    "text_or_none",
    "time",
    "time_or_none",
    "typing",
]
