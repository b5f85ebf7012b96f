"""Doorbells: what hangs at the broker for each."""

import base64
import json
from typing import Any
from uuid import uuid4

from celery import current_app

from chat import jobs
from tests.chat.published import RUN, SESSION
from tests.inside import rung, told


def test_a_doorbell_is_a_message_with_ids_and_nothing_else(redis: Any) -> None:
    run_id = uuid4()
    jobs.run_agent(run_id, SESSION)
    told()
    message = json.loads(redis.lindex("runs", 0))
    assert message["headers"]["task"] == "run_agent"
    assert json.loads(base64.b64decode(message["body"]))[:2] == [[str(run_id), str(SESSION)], {}]
    assert rung(redis) == [run_id]
    jobs.summarise_session(SESSION, run_id)
    told()
    message = json.loads(redis.lindex("jobs", 0))
    assert message["headers"]["task"] == "summarise_session"
    assert json.loads(base64.b64decode(message["body"]))[0] == [str(SESSION), str(run_id)]


def test_a_doorbell_is_what_celery_would_send(redis: Any) -> None:
    args = [str(RUN), str(SESSION)]
    jobs.run_agent(*args)
    told()
    current_app.send_task("run_agent", args=args, ignore_result=True)
    theirs, ours = (json.loads(one) for one in redis.lrange("runs", 0, -1))
    for message in (ours, theirs):
        assert message["headers"].pop("id") == message["headers"].pop("root_id")
        del message["headers"]["argsrepr"], message["headers"]["origin"]
        del message["properties"]["correlation_id"], message["properties"]["delivery_tag"]
        del message["properties"]["reply_to"]  # of the thread that makes it, and nobody replies
    assert ours == theirs


def test_two_doorbells_are_two_messages(redis: Any) -> None:
    for _ in range(2):
        jobs.run_agent(RUN)
    told()
    one, other = (json.loads(message) for message in redis.lrange("runs", 0, -1))
    assert one["headers"]["id"] != other["headers"]["id"]
    assert one["properties"]["delivery_tag"] != other["properties"]["delivery_tag"]
