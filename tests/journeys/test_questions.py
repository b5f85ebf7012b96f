"""Questions to people outlive every process, and are answered once, from any device."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import NewStack
from tests.connection import Refused
from tests.stack import Stack


def restart_everything(stack: Stack) -> None:
    """Kill each process of a server as a power cut would, and start them all again, with a worker."""
    running = [part for part in stack.parts if part.alive]
    for part in running:
        part.kill()
    stack.start()
    if not stack.workers:
        stack.add_worker()


async def test_a_question_outlives_every_process_and_is_answered_from_another_device(new_stack: NewStack) -> None:
    stack = new_stack(webs=2, workers=0)
    ada, ben = stack.person("ada"), stack.person("ben")
    async with stack.client(ada, web=0) as desk:
        session_id = await desk.new_session()
        await desk.post(f"/api/sessions/{session_id}/members/", {"username": ben.username})
        fold = await desk.subscribe(session_id)
        run_id = await desk.say(session_id, "Refund my order")
        interrupt_id = stack.ask("ask_people(session_id)", session_id=session_id)
        await desk.until(lambda: fold.status(run_id) == "interrupted", "it asks")
        behind = await desk.say(session_id, "And now?")
        await desk.agrees()
        last_seq = fold.last_seq

    restart_everything(stack)
    async with stack.client(ada, web=1) as phone, stack.client(ben, web=0) as other:
        [asked] = (await phone.get("/api/interrupts/"))["results"]
        assert (asked["interrupt_id"], asked["status"]) == (interrupt_id, "open")
        page = await phone.open_page(session_id)
        await other.open_page(session_id)
        assert page.session["status"] == "interrupted" and page.last_seq == last_seq
        told = await asyncio.gather(
            phone.command("interrupt.resolve", interrupt_id=interrupt_id, answer={"approved": True}),
            other.post(f"/api/interrupts/{interrupt_id}/resolve/", {"answer": {"approved": False}}),
            return_exceptions=True,
        )
        [problem] = [one for one in told if isinstance(one, Refused)]
        assert problem.code == "already_resolved"
        assert {"interrupt_id": interrupt_id, "run_id": run_id} in told
        ended = await phone.ended(session_id, run_id, behind)
        assert [(row["status"], row["attempt"]) for row in ended] == [("succeeded", 2), ("succeeded", 1)]
        with pytest.raises(Refused, match="already_resolved"):
            await phone.command("interrupt.resolve", interrupt_id=interrupt_id, answer={"approved": True})
        await phone.agrees()
        await other.ended(session_id, run_id, behind)
        await other.agrees()
    await desk.connect()
    await desk.ended(session_id, run_id, behind)
    await desk.agrees()
    await desk.close()
