"""Messages: listed and read, and each session that is looked into is written down."""

from chat.actions import sessions
from chat.models import User
from chat.protocol.commands import NewSession
from tests.admin.conftest import Browser, looks
from tests.inside import Talk, post

LIST = "/admin/chat/message/"


def test_the_list_writes_down_each_session_that_it_shows_and_no_other(talk: Talk, olga: Browser, eve: User) -> None:
    other = sessions.create_session(eve, NewSession(title="Something else"))
    mine = sessions.create_session(olga.user or eve, NewSession(title="Mine"))
    for session, by in ((other, eve), (mine, olga.user or eve)):
        post(by, session.pk, f"In {session}")
    talk.answer("What happened?", "A lot.")
    page = olga.text(LIST)
    assert "What happened?" in page and "In Mine" in page
    assert sorted(looks()) == sorted(("olga", "list of messages", str(pk)) for pk in (talk.pk, other.pk))
    olga.get(f"{LIST}?session__id__exact={other.pk}")
    assert looks()[2:] == [("olga", "list of messages", str(other.pk))]


def test_the_newest_talk_comes_first(talk: Talk, olga: Browser, eve: User) -> None:
    talk.answer("One?", "Two!")
    other = sessions.create_session(eve, NewSession())
    post(eve, other.pk, "Three?")
    page = olga.text(LIST)
    assert page.index("Three?") < page.index("Two!") < page.index("One?")


def test_a_long_message_is_listed_in_part_and_shown_whole(talk: Talk, olga: Browser) -> None:
    talk.post("long " * 100 + "end")
    assert "end" not in olga.text(f"{LIST}?role__exact=user").partition("long")[2].partition("queued")[0].split("…")[0]
    message = talk.session.messages.get()
    assert "long end" in olga.text(f"{LIST}{message.pk}/change/")
    assert looks()[-1] == ("olga", "message", str(talk.pk))


def test_messages_are_found_by_id_and_author(talk: Talk, olga: Browser) -> None:
    run = talk.answer("From Ada", "An answer")
    talk.post("From Ben", talk.ben)
    assert "An answer" in olga.text(f"{LIST}?q={run.answer_id}")
    page = olga.text(f"{LIST}?q=be")
    assert "From Ben" in page and "From Ada" not in page
