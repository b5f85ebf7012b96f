"""From a session to what the LLM reads: instructions, a summary of what is old, and the newest talk that fits."""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from chat.models import Agent, ChatSession, Message, Run
from chat.prepared import Asked, Given, Prepared, together
from workers.deeds import BROKEN_OFF, Deed, deeds_in, deeds_of_calls
from workers.llm.base import SUMMARY_HEADING, Called, Prompt, Returned, Said, estimate_tokens
from workers.llm.base import Line as TalkLine

LINES_MAX = 2000  # of talk looked at, whatever the budget
PAGE = 50  # of lines read at once
BRIEF_LINES = 8 * PAGE  # that may be read on the loop: two milliseconds
LINE_TOKENS = 4  # what a line costs besides its text
SUMMARY = 0.5  # of a budget at most: one that an LLM made too long would leave no room for what was said last
# Of the room that instructions and summary leave: from where on the talk is summed up, and how much of it then stays.
# Not much closer, or an LLM would be asked for each few lines, and no provider could keep the beginning of the prompt.
CROWDED, KEPT = 0.75, 0.5
ROOM_MIN = 0.125  # of a budget: instructions that fill all of it do not ask for a summary after each answer

Talk = tuple[str, str, str, int, int | None]  # role, content, data as JSON, seq, position
NO_DATA = "{}"  # as both databases write it; most lines have none, and there are hundreds

ROLES: dict[str, str] = {Message.Role.USER: "user", Message.Role.ASSISTANT: "assistant"}


class NotBrief(Exception):
    """There are more lines to be read than may be on the loop."""


@dataclass(frozen=True, slots=True)
class Context:
    prompt: Prompt
    is_crowded: bool  # the unsummarised talk nears the end of its room: time for a summary
    read: dict[str, Any]  # what the prompt was made of, by reference: for whoever asks later
    joined: dict[int, tuple[Said, ...]]  # what people sent while it was answered, by the step that read it; not step 0
    doubted: frozenset[
        str
    ]  # by their hashes: calls of earlier runs for its question, of which nobody knows what became
    time: tuple[datetime, datetime]  # that it was read in, for who traces it


class Line(NamedTuple):
    said: Said
    seq: int
    tokens: int
    position: int | None = None  # of its run

    @property
    def lines(self) -> tuple[TalkLine, ...]:
        return (self.said,)


def tokens_for(agent: Agent) -> int:
    """How much of a talk an agent's LLM reads."""
    tokens: int = agent.context.get("tokens", settings.CHAT_CONTEXT_TOKENS)
    return tokens


def instructions_of(agent: Agent, summary: str) -> str:
    """What an agent's LLM reads before the talk."""
    if not summary:
        return agent.instructions
    summary = start_of(summary, int(tokens_for(agent) * SUMMARY))
    return f"{agent.instructions}\n\n{SUMMARY_HEADING}\n{summary}\n".lstrip()


def build_context(run: Run, *, brief: bool = False) -> Context:
    """Collect what an LLM is told for a run as it was claimed. It blocks for as long as the database takes.

    Raises `NotBrief` where it was to be brief, and the talk is of very many short lines.
    """
    began = timezone.now()
    tokens, may_sum_up = tokens_for(run.agent), run.agent.context.get("summary", True)
    # The session came with the claim: of what both say of a summary, neither is newer than the other.
    summary, summary_seq = (run.session.summary, run.session.summary_seq) if may_sum_up else ("", 0)
    ask = run.message  # it came with the claim, and nobody changes what is being answered
    joined, newest = _JOINED.ask(run_id=run.pk), _page(run, summary_seq, run.position, ask.seq)
    # A question that is asked again may be older than the summary, and so may be what was done for it.
    since = min(summary_seq, ask.seq)
    broken_off = (
        BROKEN_OFF.ask(session_id=run.session_id, after=since, before=run.position) if run.agent.tools else None
    )
    together(joined, newest, *([broken_off] if broken_off else []))
    deeds = deeds_in(broken_off.rows) if broken_off else []
    instructions = instructions_of(run.agent, summary)
    by_step: dict[int, list[Line]] = {0: [_line(ask.role, ask.content, ask.data, ask.seq)]}
    for step, *said in joined.rows:
        by_step.setdefault(step or 0, []).append(_line(Message.Role.USER, *said))
    asked = by_step.pop(0)
    again = [deed for deed in reversed(deeds) if deed.message_id == ask.pk]  # is read as this run's own
    spent = sum(line.tokens for lines in (asked, again, *by_step.values()) for line in lines)
    room = tokens - estimate_tokens(instructions)
    kept: list[Line | Deed] = []
    before = talk_before(run, summary_seq, newest, brief=brief)
    earlier = [deed for deed in deeds if deed.message_id != ask.pk]
    for line in _with_deeds(before, earlier) if earlier else before:  # read only as far as it fits
        spent += line.tokens
        if spent > room:
            break
        kept.append(line)
    lines = (*reversed(kept), *asked, *again)
    return Context(
        Prompt(instructions, tuple(one for line in lines for one in line.lines)),
        is_crowded=may_sum_up and spent > max(room, tokens * ROOM_MIN) * CROWDED,
        read={
            "attempt": run.attempt,
            "instructions_chars": len(run.agent.instructions),
            "summary_seq": summary_seq if summary else 0,
            "seqs": [line.seq for line in lines if isinstance(line, Line)],
            "tokens": estimate_tokens(instructions) + sum(line.tokens for line in lines),
        },
        joined={step: tuple(line.said for line in lines) for step, lines in by_step.items()},
        doubted=frozenset(deed.hash for deed in again if deed.is_unknown),
        time=(began, timezone.now()),
    )


def start_of(text: str, tokens: int) -> str:
    """As much of a text as costs no more than that, as tokens are estimated."""
    return text if estimate_tokens(text) <= tokens else text.encode()[: 4 * tokens].decode(errors="ignore")


def joined_lines(messages: Iterable[Message]) -> tuple[Said, ...]:
    """What people sent while a run was answered, as its LLM reads it."""
    return tuple(_line(one.role, one.content, one.data, one.seq).said for one in messages)


def talk_before(run: Run, summary_seq: int, newest: "Asked[Talk]", *, brief: bool = False) -> Iterator[Line]:
    """What was said before a run's question and is not in the summary, newest first; `newest` is its first page.

    The order is that of the runs: a question that was sent while others waited comes after their answers, although its
    seq is lower. Interrupted and failed answers are left out, and so is what the run itself asks, or was told since.
    The question of a run whose place this one took has the same position, and is older.

    Page by page without a snapshot: the runs before this one have ended, so their talk no longer changes.
    """
    page, left = newest.rows, LINES_MAX
    while True:
        for role, content, written, at_seq, place in page[:left]:
            data = {} if written == NO_DATA else json.loads(written)
            if Message.is_talk(data):
                yield _line(role, content, data, at_seq, place)
        left -= len(page)
        if len(page) < PAGE or left <= 0:
            return
        if brief and LINES_MAX - left >= BRIEF_LINES:
            raise NotBrief
        *_, seq, position = page[-1]
        older = _page(run, summary_seq, position, seq)
        together(older)
        page = older.rows


def _with_deeds(talk: Iterator[Line], deeds: Sequence[Deed]) -> Iterator[Line | Deed]:
    """What runs that were broken off have done, in their places among what was said. Both come newest first."""
    left = deque(deeds)
    for line in talk:
        while left and left[0].position >= (line.position or 0):
            yield left.popleft()
        yield line
    yield from left


LEFT_OUT = "(This is left out by now: call the tool again if you need it.)"


def fit_results(talk: tuple[TalkLine, ...], tokens: int) -> tuple[TalkLine, ...]:
    """Leave out what tools returned long ago, where all of it is longer than the talk may be.

    What the last calls gave is never left out: it has not been read yet.
    """
    left, fitted = tokens, list(talk)
    last_calls = max((index for index, line in enumerate(talk) if isinstance(line, Called)), default=-1)
    for index in range(len(talk) - 1, -1, -1):
        line = talk[index]
        if isinstance(line, Returned):
            left -= estimate_tokens(line.text)
            if left < 0 and index < last_calls:
                fitted[index] = replace(line, text=LEFT_OUT)
    return tuple(fitted)


def _page(run: Run, summary_seq: int, position: int | None, seq: int) -> "Asked[Talk]":
    """The newest lines before a place in the talk of a run's session."""
    return _TALK.ask(
        session_id=run.session_id, summary_seq=summary_seq, message_id=run.message_id, position=position, seq=seq
    )


def _newest_talk() -> "QuerySet[Message, Talk]":
    before = Q(position__lt=Given("position")) | Q(position=Given("position"), seq__lt=Given("seq"))
    said = Message.objects.filter(kind="text", deleted_at=None, role__in=list(ROLES))
    return (
        # `before` implies the first condition; written out, it lets the index be used.
        said.filter(position__lte=Given("position"), session_id=Given("session_id"))
        .filter(before, seq__gt=Given("summary_seq"))
        .exclude(pk=Given("message_id"))
        .order_by("-position", "-seq")
        .values_list("role", "content", Cast("data", TextField()), "seq", "position")[:PAGE]
    )


_TALK = Prepared(_newest_talk)
_JOINED = Prepared(
    lambda: (
        Message.objects.shown()
        .filter(run_id=Given("run_id"), joined=True, read_step__isnull=False)
        .order_by("seq")
        .values_list("read_step", "content", "data", "seq")
    )
)


class Past(NamedTuple):
    said: list[Said]
    up_to: int  # the seq of the last of it
    has_more: bool


def to_summarise(session: ChatSession, reader: Agent | None = None) -> Past:
    """The oldest talk that no summary holds yet: all but what fills half of its room, as far as it can be read at once.

    `reader` is the agent that found it crowded, else the session's agent. The latter's LLM sums it up: so it is given
    half of what that reads, which leaves the other half for the summary so far.
    """
    reader = reader or session.agent
    tokens = tokens_for(reader)
    room = max(tokens - estimate_tokens(instructions_of(reader, session.summary)), tokens * ROOM_MIN) * KEPT
    newest = Message.objects.filter(session_id=session.pk, seq__gt=session.summary_seq).newest_first()
    # As rows: as models, all of it takes three times as long.
    columns = ("pk", "role", "kind", "content", "data", "seq", "deleted_at")
    lines = []
    for message in newest.values_list(*columns, named=True)[:LINES_MAX]:
        lines.append((message, _line(message.role, message.content, message.data, message.seq)))
    unanswered = set(Run.objects.open().filter(session_id=session.pk).values_list("message_id", flat=True))
    for index, (_, line) in enumerate(lines):
        room -= line.tokens
        if room < 0:
            old = [(message, line) for message, line in reversed(lines[index:])]
            break
    else:
        return Past([], session.summary_seq, has_more=False)
    said: list[Said] = []
    up_to = session.summary_seq
    at_once = left = int(tokens_for(session.agent) * (1 - SUMMARY))
    deeds = deeds_of_calls([message.pk for message, _ in old if message.role == Message.Role.TOOL])
    for message, own in old:
        if message.pk in unanswered:
            break  # what still waits for its answer is not yet past
        is_talk = message.role in ROLES and message.kind == "text" and Message.is_talk(message.data)
        deed = deeds.get(message.pk)
        line = own if deed is None else _line(Message.Role.ASSISTANT, deed.in_words, {}, message.seq)
        if deed or (is_talk and not message.deleted_at):
            left -= line.tokens
            if said and left < 0:
                return Past(said, up_to, has_more=True)
            said.append(replace(line.said, text=start_of(line.said.text, at_once)))  # one alone may be longer
        up_to = message.seq
    return Past(said, up_to, has_more=False)


def _line(role: str, content: str, data: dict[str, Any], seq: int, position: int | None = None) -> Line:
    if context := data.get("context"):
        content += "\n\n" + "\n".join(f"{name}: {value}" for name, value in context.items())
    said = Said("assistant" if role == Message.Role.ASSISTANT else "user", content)
    return Line(said, seq, estimate_tokens(content) + LINE_TOKENS, position)
