"""Workers: which live, by the database's clock, and what they hold."""

from chat.actions import workers
from tests.admin.conftest import Browser
from tests.inside import Talk

LIST = "/admin/chat/worker/"


def test_the_list_tells_who_lives_and_how_many_runs_they_hold(talk: Talk, olga: Browser) -> None:
    talk.start()
    gone = workers.register_worker("gone:7")
    workers.end_lease(gone)
    page = olga.text(LIST)
    living, _, dead = page.partition("gone:7")
    assert "host:1" in living and "good for" in living and " 1 2" in living.partition("good for")[2]
    assert "ran out" in dead


def test_a_page_tells_the_runs_that_a_worker_holds(talk: Talk, olga: Browser) -> None:
    run = talk.start()
    page = olga.get(f"{LIST}{talk.worker_id}/change/")
    assert f"/admin/chat/run/{run.pk}/change/" in page
