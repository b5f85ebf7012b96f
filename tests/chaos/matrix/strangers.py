"""A stranger who guesses."""

import json
from typing import Any
from uuid import uuid4

from tests.chaos.matrix.paces import LONG
from tests.chaos.matrix.scene import Found, Scene, fault
from tests.wire import Refused


@fault(
    40,
    "guessed ids",
    "a stranger uses every id of another's session, in every command and path",
    "not_found, and nothing else",
)
async def guessed_ids(scene: Scene) -> Found:
    stack, times = scene.stack, 0
    async with stack.client(stack.person("ada")) as ada, stack.client(stack.person("eve"), web=1) as eve:
        session_id = await ada.new_session(title="Secret plans")
        await ada.subscribe(session_id)
        run_id = await ada.say(session_id, "The password is swordfish", llm=LONG.demo)
        message_id = (await ada.get(f"/api/sessions/{session_id}/messages/"))["results"][-1]["message_id"]
        said = []
        for ids in ((session_id, run_id, message_id), tuple(str(uuid4()) for _ in range(3))):
            one, run, message = ids
            commands: list[tuple[str, dict[str, Any]]] = [
                ("session.subscribe", {"session_id": one}), ("session.subscribe", {"session_id": one, "after": 0}),
                ("session.unsubscribe", {"session_id": one}),
                ("message.send", {"session_id": one, "content": "x", "key": "k"}),
                ("message.update", {"message_id": message, "content": "x"}), ("run.cancel", {"run_id": run}),
                ("run.retry", {"run_id": run}), ("run.move", {"run_id": run, "before": None}),
                ("interrupt.resolve", {"interrupt_id": one, "answer": {"approved": True}}),
                ("typing", {"session_id": one, "active": True}),
            ]  # fmt: skip
            requests: list[tuple[str, str, Any]] = [
                ("GET", f"sessions/{one}/", None), ("PATCH", f"sessions/{one}/", {"title": "x"}),
                ("DELETE", f"sessions/{one}/", None),
                ("POST", f"sessions/{one}/close/", {}), ("POST", f"sessions/{one}/reopen/", {}),
                ("GET", f"sessions/{one}/members/", None),
                ("POST", f"sessions/{one}/members/", {"username": "eve", "role": "owner"}),
                ("GET", f"sessions/{one}/messages/", None),
                ("POST", f"sessions/{one}/messages/", {"content": "x"}), ("GET", f"sessions/{one}/events/", None),
                ("GET", f"sessions/{one}/runs/", None), ("GET", f"runs/{run}/", None),
                ("PATCH", f"runs/{run}/", {"before": None}),
                ("POST", f"runs/{run}/cancel/", {}), ("POST", f"runs/{run}/retry/", {}),
            ]  # fmt: skip
            answers = []
            for kind, data in commands:
                answers.append(await _refusal(eve.command(kind, **data)))
            for method, path, body in requests:
                answers.append(await _refusal(eve.call(method, f"/api/{path}", body)))
            times += len(answers)
            assert {error["code"] for error in answers} == {"not_found"}, answers
            said.append(answers)
        assert said[0] == said[1], "what exists and is another's is refused in other words than what does not exist"
        heard = json.dumps([frame for _, frame in eve.received])
        assert "swordfish" not in heard and "Secret" not in heard and session_id not in heard
        assert not eve.folds
        await ada.command("run.cancel", run_id=run_id)
        await ada.agrees(session_id)
    return Found(times)


async def _refusal(asking: Any) -> dict[str, Any]:
    try:
        raise AssertionError(f"it was allowed: {await asking}")
    except Refused as problem:
        return problem.error
