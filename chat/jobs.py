"""Background jobs, by name: `chat` never imports the workers that do them, it rings for them."""

import base64
import json
from functools import cache
from typing import Any
from uuid import uuid4

from celery import current_app
from kombu import Connection

from chat.outbox import BROKER, outbox


def run_agent(run_id: object, session_id: object = None) -> None:
    """Ring for a session: whoever hears it claims its oldest claimable run, whatever run is named.

    Without the session's id, whoever hears it has to ask for that first.
    """
    _ring("run_agent", *(str(one) for one in (run_id, session_id) if one))


def summarise_session(session_id: object, run_id: object) -> None:
    """Sum up what is old in a session: the run found that it reads nearly as much as its agent may, and pays for it."""
    _ring("summarise_session", str(session_id), str(run_id))


def title_session(run_id: object) -> None:
    """Name the session of a run that was answered."""
    _ring("title_session", str(run_id))


def _ring(task: str, *args: str) -> None:
    """A doorbell: enqueue a task by name. Lost ones are found by the sweep."""
    queue, made = _bell(task)
    task_id = str(uuid4())
    message = {
        **made,
        "body": _body(args),
        "headers": {**made["headers"], "id": task_id, "root_id": task_id, "argsrepr": repr(args)},
        "properties": {**made["properties"], "correlation_id": task_id, "delivery_tag": str(uuid4())},
    }
    outbox.put(BROKER, lambda pipe: pipe.lpush(queue, json.dumps(message)))


@cache
def _bell(task: str) -> tuple[str, dict[str, Any]]:
    """The queue of a task, and a message for it as Celery makes it: copied with other ids and arguments.

    To make each anew, and to send it over a connection of its own, takes Celery as long as what it follows took.
    """
    queue: str = current_app.amqp.router.route({}, task)["queue"].name
    with Connection("memory://") as connection:
        current_app.send_task(task, args=[], connection=connection, ignore_result=True)
        made: dict[str, Any] = connection.default_channel._get(queue)  # type: ignore[attr-defined]
    assert base64.b64decode(made["body"]) == base64.b64decode(_body(())), "Celery has another form of arguments"
    return queue, made


def _body(args: tuple[str, ...]) -> str:
    nothing = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return base64.b64encode(json.dumps([args, {}, nothing]).encode()).decode()
