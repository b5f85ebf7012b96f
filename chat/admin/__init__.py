"""The admin for operators: one file a noun. Reading other people's talk is written down (`chat/actions/audit.py`)."""

from chat.admin import agents, api_keys, audit, members, messages, runs, sessions, usage, users, workers
from chat.admin.site import site

__all__ = [
    "agents",
    "api_keys",
    "audit",
    "members",
    "messages",
    "runs",
    "sessions",
    "site",
    "usage",
    "users",
    "workers",
]
