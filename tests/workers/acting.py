"""Tools of a test's own, an agent that has them, and what became of their calls."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from chat.actions import interrupts
from chat.database import reading, writing
from chat.models import Agent, Interrupt, Run, ToolCall
from chat.protocol.commands import Answer, Approved, Chosen, Refused, Told
from tests.inside import Talk
from tests.workers.process import LedLLM, answering
from workers import runner
from workers.llm.base import Returned
from workers.runtime import Runtime
from workers.tools import Tool, ToolContext, load_tools, tool

AGENT = "doer"


class Deeds:
    """What tools did, in order; and tools that do it."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []
        self.contexts: list[ToolContext] = []
        self.tools: dict[str, Tool] = {"ask_human": load_tools()["ask_human"]}
        self.hold = threading.Event()  # for a tool that waits until the test lets it go on
        self.held = threading.Event()

    def add(self, name: str, effect: str, access: str = "read", does: Callable[..., Any] | None = None, **more: Any):
        """Make a tool that notes what it is called with, and gives that (or what `does` gives)."""

        def act(context: ToolContext, number: int = 0, text: str = "") -> Any:
            """Do it."""
            self.done.append((name, number or text))
            self.contexts.append(context)
            return does() if does else {"number": number, "text": text}

        made = tool(effect=effect, access=access, name=name, **more)(act)  # type: ignore[arg-type]
        self.tools[name] = made
        return made

    def wait(self) -> str:
        """Stand still until the test says so: what a tool may do."""
        self.held.set()
        assert self.hold.wait(20), "nobody let it go on"
        return "at last"

    def names(self) -> list[str]:
        return [name for name, _ in self.done]


@pytest.fixture
async def deeds(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> Deeds:
    """An agent with tools of the test: `look` reads, `note` writes unasked, `send` writes once and if it may."""
    made = Deeds()
    made.add("look", "pure")
    made.add("note", "idempotent", "write", needs_approval=False)
    made.add("send", "once", "write")
    await writing(lambda: Agent.objects.create(name=AGENT, mode="react", tools=["look"]))
    monkeypatch.setattr(runner, "tools_named", lambda names: made.tools)
    return made


async def calls(run: Run) -> list[ToolCall]:
    return await reading(lambda: list(ToolCall.objects.filter(run_id=run.pk).in_order()))


async def statuses(run: Run) -> list[tuple[str, str]]:
    return [(call.tool, str(call.status)) for call in await calls(run)]


async def questions(run: Run) -> list[Interrupt]:
    return await reading(lambda: list(Interrupt.objects.open().filter(run_id=run.pk).in_order()))


async def answer(talk: Talk, run: Run, *answers: Answer) -> None:
    """Answer the open questions of a run, in their order."""
    for question, given in zip(await questions(run), answers, strict=True):
        await interrupts.resolve_interrupt(talk.ada, question.pk, given)


def yes(**args: Any) -> Approved:
    return Approved(approved=True, **({"args": args} if args else {}))


def no(reason: str | None = None) -> Refused:
    return Refused(approved=False, reason=reason)


def text(said: str) -> Told:
    return Told(text=said)


def choice(chosen: str) -> Chosen:
    return Chosen(choice=chosen)


async def start(talk: Talk, runtime: Runtime, content: str = "Please do it.") -> Run:
    return (await answering(talk, runtime, content, agent=AGENT)).run


async def calling(talk: Talk, runtime: Runtime, llm: LedLLM, tool: str, /, **args: Any) -> Run:
    """Start a run whose LLM calls a tool, and says no more before it has read the result."""
    run = await start(talk, runtime)
    llm.call(tool, **args)
    llm.end()
    return run


async def resumed(talk: Talk, runtime: Runtime) -> None:
    await runtime.look_at(talk.pk)  # it may be over at once


async def types(talk: Talk, run: Run) -> list[str]:
    return [event.type for event in await reading(talk.log) if event.run_id == run.pk]


def results(llm: LedLLM, prompt: int = -1) -> list[tuple[str, bool]]:
    return [(line.text, line.is_error) for line in llm.prompts[prompt].talk if isinstance(line, Returned)]
