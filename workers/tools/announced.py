"""What the pages and doors of the web processes know of the tools: rows, since they load none of this code."""

from chat import models
from chat.actions.tools import announce_tools
from workers.tools.registry import load_tools


def announce() -> None:
    """Write down what tools this worker has. In a thread with a connection."""
    announce_tools(
        [
            models.Tool(
                name=one.name,
                description=one.description,
                args_schema=one.args_schema,
                access=one.access,
                effect=one.effect,
                needs_approval=one.needs_approval,
            )
            for one in load_tools().values()
        ]
    )
