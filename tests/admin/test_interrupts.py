"""Questions to people: found, read and, where they wait for ever, answered by an operator as everybody can see."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from chat.actions import attempts
from chat.actions.interrupts import resolve_as_operator
from chat.actions.questions import Question
from chat.models import Interrupt, Run
from chat.protocol.commands import Refused
from tests.admin.conftest import Browser, looks
from tests.inside import Talk

LIST = "/admin/chat/interrupt/"
SCHEMA = {"type": "object", "properties": {"order_id": {"type": "string"}}, "additionalProperties": False}
CANCEL: dict[str, Any] = {"tool": "cancel_order", "args": {"order_id": "1001"}, "args_schema": SCHEMA}
APPROVAL = Question("approval", "Cancel order 1001?", CANCEL)
QUESTION = Question("question", "Why was it sent back?")
CHOICE = Question("choice", "Which?", {"choices": ["refund", "replace"]})


def ask(talk: Talk, *questions: Question) -> list[Interrupt]:
    run = talk.start("A secret question")
    attempts.interrupt_run(run, list(questions), attempts.Spending("demo", 1, 1))
    return list(Interrupt.objects.filter(run=run).order_by("created_at"))


def answer(browser: Browser, asked: Interrupt, **form: str) -> str:
    browser.post(f"{LIST}{asked.pk}/answer/", form)
    return browser.told("interrupt")


def now(asked: Interrupt) -> tuple[str, Any]:
    asked.refresh_from_db()
    return asked.status, asked.answer


def test_open_ones_come_first_and_reading_is_written_down(talk: Talk, olga: Browser) -> None:
    first, second = ask(talk, APPROVAL, QUESTION)
    resolve_as_operator(talk.ada, first.pk, Refused(approved=False))
    first, second = second, first
    page = olga.get(LIST)
    assert page.index(f"{first.pk}/change") < page.index(f"{second.pk}/change")
    assert "Why was it sent back?" in page
    olga.get(f"{LIST}{first.pk}/change/")
    assert looks() == [("olga", "list of questions", str(talk.pk)), ("olga", "question", str(talk.pk))]
    for query, found in (
        ("status__exact=open", [first]),
        ("reason__exact=approval", [second]),
        (f"q={first.run_id}", [first, second]),
        (f"q={talk.pk}", [first, second]),
        (f"q={second.pk}", [second]),
        ("q=words", []),
    ):
        page = olga.get(f"{LIST}?{query}")
        assert [one for one in (first, second) if f"{one.pk}/change" in page] == found, query


def test_an_operator_approves_what_is_shown(talk: Talk, olga: Browser) -> None:
    (asked,) = ask(talk, APPROVAL)
    before = talk.last_seq
    assert 'Cancel order 1001? {"order_id": "1001"}' in olga.text(LIST)
    page = olga.get(f"{LIST}{asked.pk}/change/")
    assert "cancel_order" in page and '"order_id": "1001"' in page
    assert "Answered." in answer(olga, asked, do="approve", args=json.dumps(CANCEL["args"]))
    assert now(asked) == ("resolved", {"approved": True})
    assert asked.resolved_by == olga.user
    assert Run.objects.get(pk=asked.run_id).status == "queued"
    assert talk.types(before)[0] == "interrupt.resolved" and talk.types(before)[-1] == "run.queued"
    assert ("olga", "answer question", str(talk.pk)) in looks()
    assert "Answer in their place" not in olga.get(f"{LIST}{asked.pk}/change/")


def test_arguments_can_be_edited_within_their_schema(talk: Talk, olga: Browser) -> None:
    (asked,) = ask(talk, APPROVAL)
    for wrong in ('{"order_id": 7}', '{"amount": 1}', "[1]", "no JSON"):
        assert "Not answered" in answer(olga, asked, do="approve", args=wrong)
        assert now(asked) == ("open", None)
    answer(olga, asked, do="approve", args='{"order_id": "1004"}')
    assert now(asked) == ("resolved", {"approved": True, "args": {"order_id": "1004"}})


@pytest.mark.parametrize(
    ("question", "form", "given"),
    [
        (APPROVAL, {"do": "refuse", "said": " too late "}, {"approved": False, "reason": "too late"}),
        (APPROVAL, {"do": "refuse"}, {"approved": False}),
        (QUESTION, {"do": "answer", "said": "It was broken."}, {"text": "It was broken."}),
        (CHOICE, {"do": "answer", "said": "1"}, {"choice": "replace"}),
    ],
)
def test_an_operator_refuses_answers_and_chooses(
    talk: Talk, olga: Browser, question: Question, form: dict[str, str], given: Any
) -> None:
    (asked,) = ask(talk, question)
    assert "Answered." in answer(olga, asked, **form)
    assert now(asked) == ("resolved", given)


@pytest.mark.parametrize("choice", ["refund ", "replace\nit", "0"])
def test_every_choice_can_be_chosen_as_it_was_offered(talk: Talk, olga: Browser, choice: str) -> None:
    (asked,) = ask(talk, Question("choice", "Which?", {"choices": ["neither", choice]}))
    radios = re.findall(r'<input type="radio" name="said" value="(.*?)"', olga.get(f"{LIST}{asked.pk}/change/"), re.S)
    sent_by_a_browser = "\r\n".join(radios[1].split("\n"))
    assert "Answered." in answer(olga, asked, do="answer", said=sent_by_a_browser)
    assert now(asked) == ("resolved", {"choice": choice})


@pytest.mark.parametrize("question", [APPROVAL, QUESTION, CHOICE])
def test_each_form_has_one_button_so_that_enter_presses_no_other(talk: Talk, olga: Browser, question: Question) -> None:
    (asked,) = ask(talk, question)
    forms = re.findall(r"<form[^>]*chat-answer.*?</form>", olga.get(f"{LIST}{asked.pk}/change/"), flags=re.S)
    assert forms and all(len(re.findall(r"<button|<input[^>]*submit", form)) == 1 for form in forms)


@pytest.mark.parametrize(
    ("question", "form"),
    [
        (APPROVAL, {}),
        (APPROVAL, {"do": "answer", "said": "yes"}),
        (QUESTION, {"do": "approve"}),
        (QUESTION, {"do": "answer", "said": " "}),
        (CHOICE, {"do": "answer", "said": "2"}),
        (CHOICE, {"do": "answer", "said": "-1"}),
        (CHOICE, {"do": "answer"}),
    ],
)
def test_anything_else_is_no_answer(talk: Talk, olga: Browser, question: Question, form: dict[str, str]) -> None:
    (asked,) = ask(talk, question)
    assert "Not answered" in answer(olga, asked, **form)
    assert now(asked) == ("open", None)


def test_the_second_answer_is_told_that_there_was_a_first(talk: Talk, olga: Browser) -> None:
    (asked,) = ask(talk, APPROVAL)
    answer(olga, asked, do="refuse")
    assert "Not answered: This was already answered." in answer(olga, asked, do="approve")
    assert now(asked) == ("resolved", {"approved": False})


def test_who_may_only_look_cannot_answer(talk: Talk, staff: Callable[..., Browser]) -> None:
    (asked,) = ask(talk, APPROVAL)
    ben = staff("view_interrupt", user=talk.ben)
    assert "Answer in their place" not in ben.get(f"{LIST}{asked.pk}/change/")
    ben.post(f"{LIST}{asked.pk}/answer/", {"do": "approve"}, 403)
    staff("view_interrupt", "change_interrupt", user=talk.ben).get(f"{LIST}{asked.pk}/answer/", 405)
    assert now(asked) == ("open", None)
    assert "answer question" not in [what for _, what, _ in looks()]


def test_a_form_from_elsewhere_answers_nothing(talk: Talk, olga: Browser) -> None:
    (asked,) = ask(talk, APPROVAL)
    olga.client.handler.enforce_csrf_checks = True
    olga.post(f"{LIST}{asked.pk}/answer/", {"do": "approve"}, 403)
    assert now(asked) == ("open", None)
