"""The admin for operators: one file a noun. Reading other people's talk is written down (`chat/actions/audit.py`)."""

from chat.admin import (
    agents,
    api_keys,
    audit,
    interrupts,
    members,
    messages,
    runs,
    sessions,
    shop,
    tool_calls,
    tools,
    usage,
    users,
    workers,
)
from chat.admin.site import site

__all__ = [
    "agents",
    "api_keys",
    "audit",
    "interrupts",
    "members",
    "messages",
    "runs",
    "sessions",
    "shop",
    "site",
    "tool_calls",
    "tools",
    "usage",
    "users",
    "workers",
]
