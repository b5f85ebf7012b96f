"""The ledger: found by what became of a call, read with what it did, and every reading is written down."""

from collections.abc import Callable
from typing import Any

import pytest

from chat.actions import attempts
from chat.actions.questions import Question
from chat.models import Run, ToolCall
from tests.admin.conftest import Browser, looks
from tests.inside import Talk

LIST = "/admin/chat/toolcall/"


def new_call(run: Run, tool: str = "cancel_order", status: str = "returned", index: int = 0, **more: Any) -> ToolCall:
    written = {"access": "write", "effect": "idempotent", "args_json": '{"order_id": "secret"}', "call_id": "1"}
    found = ToolCall.objects.filter(run=run).count()
    call = ToolCall(session_id=run.session_id, run=run, step=found, index=index, tool=tool, status=status)
    for name, value in {**written, "args": {"order_id": "secret"}, **more}.items():
        setattr(call, name, value)
    call.save()
    return call


@pytest.fixture
def run(talk: Talk) -> Run:
    return talk.answer("A secret question", "A secret answer")


def test_calls_are_filtered_and_found_and_the_list_tells_no_talk(talk: Talk, run: Run, olga: Browser) -> None:
    done = new_call(run, calls=2)
    read = new_call(run, "look_up", "failed", access="read", effect="pure")
    for query, found in (
        ("", [done, read]),
        ("status__exact=failed", [read]),
        ("access__exact=write", [done]),
        ("effect__exact=pure", [read]),
        (f"q={done.pk}", [done]),
        (f"q={run.pk}", [done, read]),
        (f"q={talk.pk}", [done, read]),
        ("q=look_up", [read]),
        ("q=nothing", []),
        ("created_at_from=2020-01-01", [done, read]),
        ("created_at_to=2020-01-01", []),
        (f"run__id__exact={run.pk}", [done, read]),
        (f"session__id__exact={talk.pk}", [done, read]),
    ):
        page = olga.get(f"{LIST}?{query}")
        assert [one for one in (done, read) if f"{one.pk}/change" in page] == found, query
        assert "secret" not in page
    assert looks() == []


def test_a_call_is_shown_whole_with_what_people_were_asked_about_it(talk: Talk, olga: Browser) -> None:
    run = talk.start()
    call = new_call(run, result={"refund": 12}, text="Refunded.", error=None, calls=2)
    attempts.interrupt_run(run, [Question("question", "Do it?", tool_call_id=call.pk)], attempts.Spending())
    page = olga.text(f"{LIST}{call.pk}/change/")
    for text in ("secret", "refund", "Refunded.", "Do it?", "Idempotent"):
        assert text in page
    assert looks() == [("olga", "tool call", str(talk.pk))]


def test_the_pages_of_run_and_session_lead_to_their_calls(talk: Talk, run: Run, olga: Browser) -> None:
    call = new_call(run, status="failed", error={"code": "tool_failed", "message": "Too late."})
    for path in (f"/admin/chat/run/{run.pk}/change/", f"/admin/chat/chatsession/{talk.pk}/change/"):
        page = olga.get(path)
        assert f"/admin/chat/toolcall/{call.pk}/change/" in page and "Too late." in page


def test_who_may_not_see_tool_calls_sees_none_anywhere(talk: Talk, run: Run, staff: Callable[..., Browser]) -> None:
    call = new_call(run)
    ben = staff("view_run", "view_chatsession", user=talk.ben)
    for path in (f"/admin/chat/run/{run.pk}/change/", f"/admin/chat/chatsession/{talk.pk}/change/"):
        assert "cancel_order" not in ben.get(path)
    ben.get(f"{LIST}{call.pk}/change/", 403)


def test_nobody_changes_the_ledger(run: Run, olga: Browser) -> None:
    call = new_call(run)
    olga.post(f"{LIST}{call.pk}/change/", {"status": "waiting"}, 403)
    olga.get(f"{LIST}{call.pk}/delete/", 403)
    olga.get(f"{LIST}add/", 403)
    call.refresh_from_db()
    assert call.status == "returned"
