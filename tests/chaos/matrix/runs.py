"""Races of what people do: sends that are repeated, sends at once, stops that meet an end, joining at any moment."""

import asyncio
import time
from typing import Any

from tests.chaos.matrix.audience import Audience, Tally, rows_of, until
from tests.chaos.matrix.paces import BRIEF, SWIFT, is_begun_rightly
from tests.chaos.matrix.scene import Found, Scene, fault, off
from tests.fold import Violation
from tests.proxy import Proxy
from tests.wire import Client, Gone


@fault(
    20,
    "lost answer to a send",
    "the connection dies after the commit and before the client hears `ok`; it sends again with its key",
    "the same ids, one run, one answer",
)
async def lost_ok(scene: Scene) -> Found:
    stack, times = scene.stack, 12
    proxy = Proxy(stack.webs[0].port)
    sessions = []
    try:
        async with stack.client(stack.person("ada")) as watching:
            for number in range(times):
                session_id = await watching.new_session()
                await watching.subscribe(session_id)
                same = {"session_id": session_id, "content": f"Once {number}", "key": "k", "llm": SWIFT.demo}
                unlucky = Client([f"http://127.0.0.1:{proxy.port}"], watching.person)
                await unlucky.connect()
                proxy.swallow()
                sending = asyncio.create_task(unlucky.command("message.send", **same))
                await until(lambda: b'"type":"ok"' in proxy.swallowed.replace(b" ", b""), "the server has said ok", 10)
                await off(proxy.cut)
                try:
                    await sending
                    raise AssertionError("it heard the answer")
                except Gone:
                    pass
                await unlucky.drop()
                await unlucky.connect()
                again = await unlucky.command("message.send", **same)
                await unlucky.drop()
                await unlucky.close_http()
                assert again["duplicate"] is True
                await watching.answered(session_id, again["run_id"])
                assert len(watching.folds[session_id].messages) == 2
                sessions.append(session_id)
            await watching.agrees(*sessions)
    finally:
        proxy.end()
    rows = await rows_of(stack, sessions)
    assert len(rows["runs"]) == len(rows["answers"]) == len(rows["said"]) == times, rows
    return Found(times, Tally(asked=times))


@fault(
    23,
    "sends at once",
    "50 messages at once into one session, over two sockets on two web processes",
    "one answer at a time, each once, in the order of the log",
)
async def sends_at_once(scene: Scene) -> Found:
    stack = scene.stack
    ada = stack.person("ada")
    async with stack.client(ada, web=0) as one, stack.client(ada, web=1) as other:
        session_id = await one.new_session()
        for client in (one, other):
            await client.subscribe(session_id)
        sends = [
            (one, other)[n % 2].command(
                "message.send", session_id=session_id, content=f"{n}", key=f"{n}", llm=SWIFT.demo
            )
            for n in range(50)
        ]
        runs = [said["run_id"] for said in await asyncio.gather(*sends)]
        assert len(set(runs)) == 50
        for client in (one, other):
            await client.answered(session_id, *runs, within_s=90)
            await client.agrees()
        begun = [
            (frame["data"]["position"], frame["run_id"])
            for frame in one.log(session_id)
            if frame["type"] == "run.started"
        ]
        assert begun == sorted(begun), "not in their order"
        assert len(begun) == 50, "one began twice"
    return Found(50, Tally(asked=50))


@fault(
    25,
    "stop meets end",
    "200 stops at random moments around the end of the answer",
    "exactly one end each; what was shown of a stopped answer is kept; nothing after the `ok`",
)
async def stop_meets_end(scene: Scene) -> Found:
    stopped = 0
    async with scene.audience(sessions=20, pace=BRIEF) as audience:

        async def whole(client: Any, session_id: str) -> float:
            begun = time.monotonic()
            await client.end_of((await audience.ask(client, session_id)).run_id)
            return time.monotonic() - begun

        for _ in range(2):  # how long an answer takes here, all being busy; the first ones wake everything up
            usual_s = max(await asyncio.gather(*(whole(*each) for each in audience.talks)))

        shown: dict[str, str] = {}  # what was on the screen when it was stopped

        async def talk(client: Any, session_id: str) -> list[tuple[str, str]]:
            ends = []
            for _ in range(10):
                run_id = (await audience.ask(client, session_id)).run_id
                await asyncio.sleep(scene.dice.uniform(0.3, 1.2) * usual_s)
                shown[run_id] = client.folds[session_id].draft(run_id)
                said = await client.command("run.cancel", run_id=run_id)
                status = client.folds[session_id].status(run_id)
                assert status == said["status"], f"ok says {said['status']}, the events say {status}"
                await client.end_of(run_id)
                ends.append((run_id, said["status"]))
            return ends

        ended = [one for ends in await asyncio.gather(*(talk(*each) for each in audience.talks)) for one in ends]
        query = "list(Event.objects.filter(run_id=r, type__in=t).values_list('type', flat=True))"
        types = ["run.succeeded", "run.cancelled", "run.failed"]
        for run_id, status in ended:
            found = await off(scene.stack.ask, query, r=run_id, t=types)
            assert found == [f"run.{status}"], f"{run_id} ended as {found}"
            stopped += status == "cancelled"
        tally = await _without_the_stopped(
            audience, {run: shown[run] for run, status in ended if status == "cancelled"}
        )
    assert 20 <= stopped <= 180, f"only one side of the race was seen: {stopped} of 200 were stopped"
    return Found(len(ended), tally, f"{stopped} were stopped, {len(ended) - stopped} were faster")


async def _without_the_stopped(audience: Audience, stopped: dict[str, str]) -> Tally:
    """Count those that were answered; of the others, all that was shown must be kept, and nothing that was not said."""
    rows = await rows_of(audience.stack, [session_id for _, session_id in audience.talks])
    kept = {run_id: content for run_id, content in rows["answers"] if run_id in stopped}
    assert all(is_begun_rightly(content) for content in kept.values()), "what was kept is not what was said"
    lost = [run_id for run_id, shown in stopped.items() if not kept.get(run_id, "").startswith(shown.rstrip())]
    assert not lost, f"of {len(lost)} that were stopped less is kept than was shown: {lost[:3]}"
    every, audience.asked = audience.asked, [one for one in audience.asked if one.run_id not in stopped]
    tally = await audience.tally()
    tally.asked = len(every)
    return tally


@fault(
    33,
    "joining at any moment",
    "300 joins, each step of them delayed at random, of sessions in which much is going on",
    "no gap, no repeat, and the page is what was received",
    within_s=300,
)
async def joining(scene: Scene) -> Found:
    stack = scene.stack
    points = ("hub.subscribed", "hub.read", "hub.drafts", "hub.join.read", "hub.join.page", "hub.catch_up")
    await off(stack.add_web, CHAT_FAILPOINTS=",".join(f"{point}=jitter:0.08" for point in points))
    joins, problems = 0, []
    async with scene.audience(sessions=12, clients=2, pace=SWIFT) as audience:
        audience.start()
        await audience.flowing(0.2)
        sessions = [session_id for _, session_id in audience.talks]
        person = audience.clients[0].person

        async def join(count: int) -> None:
            nonlocal joins
            async with stack.client(person, web=2) as guest:
                for session_id in scene.dice.sample(sessions, count):
                    if scene.dice.random() < 0.3:
                        await guest.open_page(session_id)
                    else:
                        await guest.subscribe(session_id, after=0)
                    joins += 1
                    await asyncio.sleep(scene.dice.uniform(0, 0.1))
                await asyncio.sleep(scene.dice.uniform(0, 0.3))
                try:
                    await guest.agrees()
                except (AssertionError, Violation) as problem:
                    problems.append(str(problem)[:500])
                    guest._broken = None

        while joins < 300:
            await asyncio.gather(*(join(5) for _ in range(6)))
            for audience_client in audience.clients:
                assert audience_client.problem is None, repr(audience_client.problem)
        tally = await audience.stop()
    tally.differing += len(problems)
    tally.details += problems
    return Found(joins, tally)
