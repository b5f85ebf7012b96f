"""A page costs the same however many rows there are."""

import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from chat.models import (
    Agent,
    ApiKey,
    AuditEntry,
    ChatSession,
    Interrupt,
    Member,
    Message,
    Order,
    Run,
    Tool,
    ToolCall,
    Usage,
    User,
    Worker,
)
from tests.admin.conftest import Browser, counted

NOUNS = "chatsession run message member agent usage worker user apikey auditentry".split()  # noqa: SIM905
NOUNS += "toolcall interrupt tool order".split()  # noqa: SIM905
LISTS = [*(f"chat/{noun}" for noun in NOUNS), "auth/group"]


def fill(count: int, sessions: int | None = None) -> ChatSession:
    """Add that many rows of each kind, each of its own session, user, agent and worker unless `sessions` says less."""
    tag = uuid4().hex[:6]
    now = timezone.now()
    users = User.objects.bulk_create(User(username=f"{tag}-{n}", password="!") for n in range(count))
    agents = Agent.objects.bulk_create(Agent(name=f"a{tag}-{n}") for n in range(count))
    workers = Worker.objects.bulk_create(Worker(name=f"{tag}-{n}", lease_until=now) for n in range(count))
    Group.objects.bulk_create(Group(name=f"{tag}-{n}") for n in range(count))
    made = [ChatSession(title=f"{tag} {n}", agent=agents[n], last_seq=4 * count) for n in range(sessions or count)]
    talks = ChatSession.objects.bulk_create(made)
    Tool.objects.bulk_create(Tool(name=f"t{tag}-{n}", access="read", effect="pure") for n in range(count))
    Order.objects.bulk_create(Order(id=f"{tag}-{n}", customer="Somebody", total=n) for n in range(count))
    tables: list[list[Any]] = [[] for _ in range(8)]
    said, runs, members, keys, trail, spent, calls, asked = tables
    for n in range(count):
        talk, user = talks[n % len(talks)], users[n]
        members.append(Member(session=talk, user=user, role="owner"))
        ask = Message(session=talk, seq=4 * n + 1, user=user, role="user", author=user.as_author(), content="Why? " * 9)
        said.append(ask)
        run = Run(session=talk, message=ask, user=user, agent=agents[n], position=4 * n + 2, status="failed")
        run.error, run.worker = {"code": "internal", "message": "Oh.", "temporary": True}, workers[n]
        run.read = {"attempt": 1, "instructions_chars": 0, "summary_seq": 0, "seqs": [4 * n + 1], "tokens": 9}
        runs.append(run)
        open_run = Run(session=talk, message=ask, user=user, agent=agents[n], position=4 * n + 3, status="queued")
        runs.append(open_run)
        spent.append(Usage(run=run, attempt=1, llm=f"llm-{n}", input_tokens=1, output_tokens=2))
        call = ToolCall(session=talk, run=run, step=n, index=0, call_id="1", tool="look", effect="pure", access="read")
        call.args_json, call.status, call.result, call.text = "{}", "returned", {"n": n}, "Seen. " * 40
        calls.append(call)
        asked.append(Interrupt(session=talk, run=run, tool_call=call, reason="question", prompt="Why? " * 40))
        asked[-1].resolved_by = user
        keys.append(ApiKey(user=user, name=f"{n}", start="ck_1", digest=uuid4().hex))
        trail.append(AuditEntry.of(user, talk.pk, "session", "/", "127.0.0.1"))
    for rows in tables:
        type(rows[0]).objects.bulk_create(rows)
    return talks[0]


def test_each_list_asks_as_often_for_300_rows_as_for_3(olga: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, dict[str, int]] = {}
    for rows, more in ((3, 3), (300, 297)):
        fill(more)
        asked[rows] = {}
        for noun in LISTS:
            with counted(monkeypatch) as statements:
                page = olga.get(f"/admin/{noun}/")
            asked[rows][noun] = len(statements)
            # A count, but for that of a worker's runs, would read the whole table for each page.
            assert not [one for one in statements if "COUNT(*)" in one and "GROUP BY" not in one], noun
        assert page.count("<tr") >= min(rows, 50)
    assert asked[3] == asked[300]
    assert max(asked[300].values()) < 20


def test_each_row_asks_as_often_with_300_that_belong_to_it_as_with_3(
    olga: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[int, dict[str, int]] = {}
    models = (ChatSession, Run, Message, Worker, User, Member, ToolCall, Interrupt)
    ContentType.objects.get_for_models(*models)  # Django asks once a process
    for count in (3, 300):
        session = fill(count, sessions=1)
        said = Message.objects.filter(session=session)
        run = Run.objects.filter(session=session, status="failed").first()
        run.read = {**(run.read or {}), "seqs": list(said.values_list("seq", flat=True))}
        run.save()
        worker = run.worker
        Run.objects.filter(session=session).update(worker=worker)
        asked[count] = {}
        ToolCall.objects.filter(session=session).update(run=run)
        call = ToolCall.objects.filter(session=session).first()
        Interrupt.objects.filter(session=session).update(run=run, tool_call=call)
        of_a_run = (call, call.interrupts.first())
        for row in (session, run, said.first(), worker, run.user, Member.objects.get(user=run.user), *of_a_run):
            with counted(monkeypatch) as statements:
                page = olga.get(f"/admin/chat/{row._meta.model_name}/{row.pk}/change/")
            asked[count][str(row._meta.model_name)] = len(statements)
            assert page.count("<article") <= 200 and page.count("chat-link") < 500, "bounded"
    assert asked[3] == asked[300]
    assert max(asked[300].values()) < 25


def test_searches_and_filters_ask_as_often(olga: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = ("?q=text:why", f"?q={uuid4()}", "?q=nobody", "?status__exact=new&active_at_from=2020-01-01")
    asked: dict[int, list[int]] = {}
    for rows in (3, 60):
        fill(rows)
        asked[rows] = []
        for query in queries:
            with counted(monkeypatch) as statements:
                olga.get(f"/admin/chat/chatsession/{query}")
            asked[rows].append(len(statements))
    assert asked[3] == asked[60]


@pytest.mark.parametrize(
    "asked",
    [
        "chatsession/?summary__startswith=they",
        "chatsession/?metadata__crm=acme",
        "chatsession/?title__regex=(a%2B)%2B%24",
        "chatsession/?status__regex=(.*)*x",
        "chatsession/?agent__instructions__contains=secret",
        "chatsession/?messages__content__contains=secret",
        "run/?checkpoint__startswith=secret",
        "run/?state__icontains=secret",
        "run/?session__summary__contains=secret",
        "toolcall/?args__pin__startswith=12",
        "toolcall/?text__startswith=pin",
        "message/?content__icontains=secret",
        "interrupt/?answer__text__contains=secret",
        "apikey/?digest__startswith=a",
        "member/?user__password__startswith=pbkdf2",
        "user/?password__startswith=pbkdf2",
    ],
)
def test_a_list_is_asked_by_its_filters_and_nothing_else(olga: Browser, asked: str) -> None:
    olga.get(f"/admin/chat/{asked}", 400)


def test_every_list_that_a_page_links_to_shows_what_belongs_to_it(olga: Browser) -> None:
    session, other = fill(2, sessions=2), fill(2)
    runs = Run.objects.filter(session=session)
    Run.objects.filter(session=other).update(worker=None)
    linked: set[str] = set()
    for row in (session, runs.filter(status="failed").get(), Worker.objects.get(runs__in=runs)):
        page = olga.get(f"/admin/chat/{row._meta.model_name}/{row.pk}/change/")
        linked |= set(re.findall(r'href="([^"]+/\?[^"]+__exact=[^"]+)"', page))
    assert len(linked) == 7
    for address in linked:
        page = olga.get(address)
        assert str(session.pk) in page and str(other.pk) not in page, address


def test_every_filter_of_a_list_is_taken(olga: Browser) -> None:
    fill(1)
    for noun in LISTS:
        names = set(re.findall(r'(?:name="|href="\?)(\w+(?:__exact|_from|_to))["=]', olga.get(f"/admin/{noun}/")))
        for name in names:
            assert olga.client.get(f"/admin/{noun}/?{name}=").status_code != 400, name
        assert names or noun.split("/")[1] in {"worker", "tool", "group"}, noun


@pytest.mark.parametrize("end", ["from", "to"])
@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "0000-01-01", "10000-01-01", "2026-02-30", "no day"])
def test_a_list_is_shown_whatever_day_it_is_asked_for(olga: Browser, day: str, end: str) -> None:
    fill(1)
    for noun, column in (("chatsession", "active_at"), ("message", "session__active_at"), ("usage", "created_at")):
        page = olga.get(f"/admin/chat/{noun}/?{column}_{end}={day}")
        none = (day, end) in {("9999-12-31", "from"), ("0001-01-01", "to")}
        assert ("/change/" not in page) == none, "all, but where there is such a day, and it leaves none"
