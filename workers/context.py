"""From a session to what the LLM reads: instructions, a summary of what is old, and the newest talk that fits."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist

from chat.database import read_snapshot
from chat.errors import Fenced
from chat.models import ChatSession, Message, Run
from workers.llm.base import SUMMARY_HEADING, Prompt, Said, estimate_tokens

LINES_MAX = 2000  # of talk looked at, whatever the budget
LINE_TOKENS = 4  # what a line costs besides its text
CROWDED = 0.6  # of the budget

ROLES: dict[str, str] = {Message.Role.USER: "user", Message.Role.ASSISTANT: "assistant"}


@dataclass(frozen=True, slots=True)
class Context:
    prompt: Prompt
    is_crowded: bool  # the unsummarised talk nears the budget: time for a summary
    read: dict[str, Any]  # what the prompt was made of, by reference: for whoever asks later


@dataclass(frozen=True, slots=True)
class Line:
    said: Said
    seq: int
    tokens: int


def build_context(run: Run) -> Context:
    """Collect what an LLM is told for a run. In a database thread. Raises `Fenced` where the session was deleted."""
    with read_snapshot():
        try:
            session = ChatSession.objects.only("summary", "summary_seq").get(pk=run.session_id)
            ask = Message.objects.get(pk=run.message_id)
        except ObjectDoesNotExist:
            raise Fenced from None
        instructions = run.agent.instructions
        if session.summary:
            instructions = f"{instructions}\n\n{SUMMARY_HEADING}\n{session.summary}\n".lstrip()
        asked = _line(ask)
        room = settings.CHAT_CONTEXT_TOKENS - estimate_tokens(instructions) - asked.tokens
        kept: list[Line] = []
        spent = asked.tokens
        for line in talk_before(run, session):  # read only as far as it fits
            spent += line.tokens
            if spent - asked.tokens > room:
                break
            kept.append(line)
    lines = (*reversed(kept), asked)
    return Context(
        Prompt(instructions, tuple(line.said for line in lines)),
        is_crowded=spent > settings.CHAT_CONTEXT_TOKENS * CROWDED,
        read={
            "attempt": run.attempt,
            "instructions_chars": len(run.agent.instructions),
            "summary_seq": session.summary_seq if session.summary else 0,
            "seqs": [line.seq for line in lines],
            "tokens": estimate_tokens(instructions) + sum(line.tokens for line in lines),
        },
    )


def talk_before(run: Run, session: ChatSession) -> Iterator[Line]:
    """What was said before a run's question and is not in the summary, newest first.

    The order is that of the runs: a question that was sent while others waited comes after their answers, although its
    seq is lower. Interrupted and failed answers are left out, and so is what the run itself asks.
    """
    found = (
        Message.objects.filter(session_id=session.pk, seq__gt=session.summary_seq, kind="text", deleted_at=None)
        .filter(role__in=list(ROLES), run__position__lt=run.position)
        .exclude(pk=run.message_id)
        .order_by("-run__position", "-seq")
        .only("role", "content", "data", "seq")[:LINES_MAX]
    )
    for message in found.iterator(chunk_size=50):
        if not message.was_interrupted:
            yield _line(message)


def to_summarise(session: ChatSession) -> tuple[list[Said], int]:
    """The oldest talk that no summary holds yet, and the seq up to which it goes: all but what fills half a budget."""
    newest = Message.objects.filter(session_id=session.pk).newest_first()
    lines = []
    for message in newest.filter(seq__gt=session.summary_seq)[:LINES_MAX]:
        lines.append((message, _line(message)))
    unanswered = set(Run.objects.open().filter(session_id=session.pk).values_list("message_id", flat=True))
    room = settings.CHAT_CONTEXT_TOKENS / 2
    for index, (_, line) in enumerate(lines):
        room -= line.tokens
        if room < 0:
            old = [(message, line) for message, line in reversed(lines[index:])]
            break
    else:
        return [], session.summary_seq
    said, up_to = [], session.summary_seq
    for message, line in old:
        if message.pk in unanswered:
            break  # what still waits for its answer is not yet past
        up_to = message.seq
        if message.role in ROLES and message.kind == "text" and not message.was_interrupted and not message.deleted_at:
            said.append(line.said)
    return said, up_to


def _line(message: Message) -> Line:
    text = message.content
    if context := message.data.get("context"):
        text += "\n\n" + "\n".join(f"{name}: {value}" for name, value in context.items())
    said = Said("assistant" if message.role == Message.Role.ASSISTANT else "user", text)
    return Line(said, message.seq, estimate_tokens(text) + LINE_TOKENS)
