"""The rows: one file a noun."""

from chat.models.agents import Agent
from chat.models.api_keys import ApiKey
from chat.models.audit import AuditEntry
from chat.models.events import Event
from chat.models.interrupts import Interrupt
from chat.models.members import Member
from chat.models.messages import Message
from chat.models.runs import Run
from chat.models.sessions import ChatSession
from chat.models.shop import Order, OrderChange
from chat.models.tickets import Ticket
from chat.models.tool_calls import ToolCall
from chat.models.tools import Tool
from chat.models.usage import Usage
from chat.models.users import User
from chat.models.workers import Worker

__all__ = [
    "Agent",
    "ApiKey",
    "AuditEntry",
    "ChatSession",
    "Event",
    "Interrupt",
    "Member",
    "Message",
    "Order",
    "OrderChange",
    "Run",
    "Ticket",
    "Tool",
    "ToolCall",
    "Usage",
    "User",
    "Worker",
]
