"""Answers Python expressions about one stack's database, line by line, so that a test need not start Django each time.

The tests' own process is set up for another database, and a new process a question would cost a second.
"""

import json
import sys
import traceback
from datetime import timedelta
from typing import Any


def add_person(username: str, password: str | None = None) -> dict[str, str]:
    """Make an account and an access token. A password is hashed only where a test will type it: that is slow."""
    from django.contrib.auth.hashers import make_password
    from django.utils import timezone
    from rest_framework_simplejwt.tokens import AccessToken

    from chat.models import User

    user = User.objects.create(username=username, password=make_password(password))
    token = AccessToken.for_user(user)
    token.set_iat(at_time=timezone.now() - timedelta(hours=2))  # or a clock that is set back signs everybody out
    return {"username": username, "user_id": str(user.pk), "token": str(token)}


def ask_people(session_id: str) -> str:
    """Do what a worker does whose run asks for an approval. For a stack without one."""
    from uuid import UUID

    from chat.actions import attempts, claims, workers
    from chat.actions.questions import Question
    from chat.models import Interrupt

    run = claims.claim_run(workers.register_worker("clerk"), UUID(session_id))
    assert run is not None, "nothing waits there"
    payload = {"tool": "refund", "args": {"order_id": 7}, "args_schema": {"required": ["order_id"]}}
    attempts.interrupt_run(run, [Question("approval", "Refund order 7?", payload)])
    return str(Interrupt.objects.open().get(run_id=run.pk).pk)


def main() -> None:
    """Read one question a line, `{"ask": expression, "given": {…}}`, and answer each with one line of JSON."""
    import django

    django.setup()
    from django.core.serializers.json import DjangoJSONEncoder
    from django.db import Error, connection

    from chat import models

    known: dict[str, Any] = {name: getattr(models, name) for name in models.__all__}
    known |= {"add_person": add_person, "ask_people": ask_people}
    for line in sys.stdin:
        question = json.loads(line)
        try:
            try:
                answer = {"is": eval(question["ask"], known | question["given"])}
            except Error:  # a test may have ended our connection: ask once more, on a new one
                connection.close()
                if connection.vendor == "postgresql":
                    connection.close_pool()  # type: ignore[attr-defined]
                answer = {"is": eval(question["ask"], known | question["given"])}
            text = json.dumps(answer, cls=DjangoJSONEncoder)
        except Exception:
            text = json.dumps({"failed": traceback.format_exc()})
        print(text, flush=True)


if __name__ == "__main__":
    main()
