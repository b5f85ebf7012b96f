"""What agents may call: typed functions, of this server and of the packages that are installed beside it."""

from workers.tools.base import Tool, ToolContext, ToolError, tool
from workers.tools.registry import load_tools, tools_named

__all__ = ["Tool", "ToolContext", "ToolError", "load_tools", "tool", "tools_named"]
