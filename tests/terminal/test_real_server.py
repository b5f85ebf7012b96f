"""The terminal client and the real server: what is killed on the way leaves no trace in the answers."""

import asyncio
import uuid

import pytest

from tests.conftest import NewStack
from tests.journeys.test_answers import numbered
from tests.stack import Stack
from tests.terminal.test_lines import MANAGE, start

pytestmark = pytest.mark.enough_on("sqlite")  # the client knows no database

WHOLE = numbered(60)
PASSWORD = "a long and rare one"


@pytest.fixture
def slow(new_stack: NewStack) -> Stack:
    return new_stack(env={"CHAT_LLM": "demo?tokens=60&tokens_per_s=30"})


async def until_running(stack: Stack, answered: int) -> None:
    """Wait until an answer is under way, with some words of it written."""
    async with asyncio.timeout(30):
        wanted = "Run.objects.filter(status='running').count() and Run.objects.filter(status='succeeded').count() == n"
        while not await asyncio.to_thread(stack.ask, wanted, n=answered):
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.6)


async def test_a_dead_worker_and_a_dead_web_process_leave_whole_answers_on_stdout(slow: Stack) -> None:
    ada = slow.person("ada", PASSWORD)
    process = await start(slow.webs[0].url, way=MANAGE, user=ada.username, password=PASSWORD)
    talking = asyncio.create_task(process.communicate(b"one\ntwo\nthree\n"))
    await until_running(slow, 0)
    slow.workers[0].kill()
    slow.workers[0].spawn()
    await until_running(slow, 1)
    slow.webs[0].kill()
    slow.webs[0].spawn()
    await until_running(slow, 2)
    slow.webs[0].terminate()
    await asyncio.to_thread(slow.webs[0].wait)
    slow.webs[0].spawn()
    out, err = await asyncio.wait_for(talking, 60)
    assert (process.returncode, out.decode(), err.decode()) == (0, f"{WHOLE}\n" * 3, "")
    said = slow.ask("list(Message.objects.filter(role='user').order_by('seq').values_list('content', flat=True))")
    assert said == ["one", "two", "three"]


async def test_a_session_is_gone_on_with_and_one_of_a_stranger_is_not_found(slow: Stack) -> None:
    ada, eve = slow.person("ada", PASSWORD), slow.person("eve", PASSWORD)
    async with slow.client(ada) as client:
        session_id = await client.new_session(title="Of Ada")
    for name, code, said in ((ada.username, 0, f"{WHOLE}\n"), (eve.username, 1, "")):
        process = await start(slow.webs[0].url, session_id, user=name, password=PASSWORD)
        out, err = await asyncio.wait_for(process.communicate(b"hello\n"), 60)
        assert (process.returncode, out.decode()) == (code, said)
        assert bool(err) == bool(code)
    process = await start(slow.webs[0].url, str(uuid.uuid4()), user=ada.username, password="wrong")
    assert (await process.communicate(b"hello\n"))[0] == b""
    assert process.returncode == 1


SAID = b"""cancel order 1001
y
Where is order 1002?
cancel orders 1004 and 1006
n not these
n
ask a human whether it rains
It does not.
"""


async def test_support_cancels_an_order_that_was_approved_and_not_the_others(new_stack: NewStack) -> None:
    stack = new_stack(env={"CHAT_LLM": "demo?tokens_per_s=0&first_token_ms=0"})
    ada = stack.person("ada", PASSWORD)
    process = await start(stack.webs[0].url, "--agent", "support", user=ada.username, password=PASSWORD)
    out, err = await asyncio.wait_for(process.communicate(SAID), 60)
    assert (process.returncode, err.decode().count("May cancel_order be called?")) == (0, 3)
    told = [line for line in out.decode().splitlines() if line.lstrip("- ").startswith("`")]
    assert [line.partition(":")[0] for line in told] == [
        "`cancel_order` (1001) answered",
        "`get_tracking_info` (1002) answered",
        "- `cancel_order` (1004) was refused by a person",
        "- `cancel_order` (1006) was refused by a person.",
        "`ask_human` answered",
    ]
    orders = "dict(Order.objects.values_list('id', 'status'))"
    assert stack.ask(orders) == {
        "1001": "cancelled",
        "1002": "shipped",
        "1003": "delivered",
        "1004": "processing",
        "1005": "cancelled",
        "1006": "processing",
    }
