"""What tests of messages that find an answer in progress do to it, and look at afterwards."""

from typing import Any
from uuid import UUID

from chat import stream
from chat.actions import attempts
from chat.actions.questions import Question
from chat.models import Message, Run
from tests.inside import Talk, told


def show(redis: Any, run: Run, text: str) -> None:
    """Put into Redis what a worker has shown of its answer."""
    told()
    redis.set(stream.draft_key(run.session_id, run.answer_id), text)


def finish(run: Run, text: str = "Done.") -> Run:
    return attempts.finish_run(run, text, attempts.Spending("demo", 3, 2))


def ask_people(run: Run) -> Run:
    """Make a run wait for a person."""
    return attempts.interrupt_run(run, [Question("question", "Which one?")])


def queue(talk: Talk) -> list[UUID]:
    return list(Run.objects.open().filter(session_id=talk.pk).order_by("position").values_list("pk", flat=True))


def data_of(message_id: UUID) -> Any:
    return Message.objects.get(pk=message_id).as_data()


def log_of(talk: Talk, after: int) -> list[tuple[str, UUID | None]]:
    return [(event.type, event.run_id) for event in talk.log(after) if event.type != "session.updated"]
