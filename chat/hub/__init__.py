"""The relay of each process: one hub a session, between the live group and the viewers."""

from chat.hub.hub import Hub
from chat.hub.process import hubs
from chat.hub.reads import read_membership
from chat.hub.viewer import Viewer

__all__ = ["Hub", "Viewer", "hubs", "read_membership"]
