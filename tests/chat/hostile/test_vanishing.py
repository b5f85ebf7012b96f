"""Clients that vanish, against real processes of daphne and uvicorn.

CHAT_TEST_WAVES: how many waves of 50 vanish (10; 60 for the long variant).
"""

import os

import psutil

from tests.chat.hostile.cost import LONG, MIB, audience, connections, rss
from tests.chat.servers.web import WAIT_S, Web, in_thread
from tests.hostile import Raw, command
from tests.processes import eventually
from tests.stack import Stack
from tests.wire import Client, Person

WAVES = int(os.environ.get("CHAT_TEST_WAVES", "10"))
GROWN = 20  # waves after which a process has all the memory that a wave needs


async def test_thousands_that_vanish_in_the_middle_leave_nothing_behind(stack: Stack, web: Web, ada: Person) -> None:
    """Hundreds, by a RST, half a close, or the death of their process, while an answer is on its way."""
    process = psutil.Process(web.pid)
    redis = stack.redis.client()

    def holds() -> dict[str, int]:
        held = web.holds()
        return {
            **{name: held[name] for name in ("hubs", "viewers", "tasks")},
            "connections": connections(web),
            "channels": len(redis.pubsub_channels("asgi__group__session.*")),
        }

    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        run_id = await client.say(session_id, "Much", llm=LONG)

        def wave(number: int) -> None:
            sockets = [Raw(web.port).open(ada.token) for _ in range(50)]
            for index, one in enumerate(sockets):
                one.send(command("session.subscribe", session_id=session_id, after=0))
                if index % 3 == 0:
                    one.read_json()
            for index, one in enumerate(sockets):
                if (number + index) % 2:
                    one.half_close()
                    one.socket.close()
                else:
                    one.reset()

        with audience(web, ada, session_id, 150):
            pass  # killed
        await in_thread(wave, 0)  # threads, pools and what that many need at once are grown once
        await in_thread(eventually, lambda: web.holds()["viewers"] == 1, "all but ours are let go", WAIT_S)
        most = 16 * MIB
        threads, fds, tasks, memory = process.num_threads(), process.num_fds(), web.holds()["all_tasks"], rss(web)
        for number in range(1, WAVES):
            await in_thread(wave, number)
            if number == GROWN:
                memory, most = rss(web), 4 * MIB
        await client.ended(session_id, run_id, within_s=60)
        await client.agrees()
    nothing = {"hubs": 0, "viewers": 0, "tasks": 0, "connections": 0, "channels": 0}
    try:
        await in_thread(eventually, lambda: holds() == nothing, "all is let go", WAIT_S)
    except AssertionError as problem:
        raise AssertionError(f"{problem}: {holds()}") from None
    after = (process.num_threads(), process.num_fds(), web.holds()["all_tasks"], rss(web))
    print(f"{web.server}: threads, fds, tasks, bytes: {(threads, fds, tasks, memory)} then, {after} now")
    assert after[0] <= threads + 8  # the pool of readers grows to its 8
    assert after[1] <= fds + 16
    assert after[2] <= tasks + 3
    assert after[3] - memory <= most
    assert "Traceback" not in web.text(), web.tail()
