"""Workers are killed, frozen and stopped in the middle of answers; each answer still arrives once, and whole."""

import asyncio
import random
import time

import pytest

from tests.chaos.crowd import QUICK, Crowd, demo
from tests.conftest import NewStack
from tests.journeys.test_answers import numbered
from tests.processes import PATIENCE, Process
from tests.stack import Stack


def busiest(stack: Stack) -> tuple[Process, int]:
    """Give the worker that holds the most answers, and how many."""
    names = stack.ask("list(Run.objects.filter(status='running').values_list('worker__name', flat=True))")
    held = {worker: sum(name.endswith(f":{worker.pid}") for name in names) for worker in stack.workers if worker.alive}
    return max(held.items(), key=lambda pair: pair[1])


async def test_five_kills_at_random_tokens_hit_twenty_answers(stack: Stack, dice: random.Random) -> None:
    async with stack.client(stack.person("ada")) as client:
        crowd = Crowd(stack, client, tokens=120, seconds=4)
        await crowd.ask()
        hits: list[int] = []
        while len(hits) < 5:
            await asyncio.sleep(dice.uniform(0.1, 1.0))
            worker, held = busiest(stack)
            if held:
                worker.kill()
                hits.append(held)
                worker.spawn()
            else:
                assert {run["status"] for run in crowd.rows()} != {"succeeded"}, "nothing was left to kill"
        print(f"answers hit by each kill: {hits}")
        runs = await crowd.all_whole(within_s=90)
        assert max(hits) >= 10, "most answers were over before"
        assert sum(run["crashes"] for run in runs) >= sum(hits) / 2, "the kills hit nothing"


@pytest.mark.enough_on("postgres")
async def test_a_frozen_worker_that_wakes_up_writes_nothing(stack: Stack) -> None:
    frozen, rescuer = stack.workers
    rescuer.kill()
    async with stack.client(stack.person("ada")) as client:
        crowd = Crowd(stack, client, tokens=300, seconds=15)
        await crowd.ask(5)
        frozen.freeze()
        frozen_at = time.monotonic()
        rescuer.start()
        again = lambda: all(run["status"] == "running" and run["attempt"] == 2 for run in crowd.rows())  # noqa: E731
        await client.until(again, "another worker takes over", 15)
        await crowd.flowing()
        await asyncio.sleep(max(0.0, 15 - (time.monotonic() - frozen_at)))
        assert crowd.in_flight() == 5, "the answers were over before it woke up"
        frozen.thaw()
        runs = await crowd.all_whole()
        assert [(run["attempt"], run["crashes"]) for run in runs] == [(2, 1)] * 5

        # And it is of use again.
        rescuer.kill()
        session_id = await client.new_session()
        await client.subscribe(session_id)
        run_id = await client.say(session_id, "Are you awake?", llm=demo(20, 0.4))
        await client.answered(session_id, run_id, within_s=10)
        await client.agrees(session_id)


@pytest.mark.enough_on("sqlite")
async def test_a_frozen_worker_that_wakes_up_without_redis_writes_nothing(stack: Stack) -> None:
    """Here the rows alone can tell it that others have taken over."""
    frozen, rescuer = stack.workers
    rescuer.kill()
    async with stack.client(stack.person("ada")) as client:
        crowd = Crowd(stack, client, tokens=100, seconds=4)
        await crowd.ask(5)
        frozen.freeze()
        rescuer.start()
        again = lambda: all(run["attempt"] == 2 for run in crowd.rows())  # noqa: E731
        await client.until(again, "another worker takes over", 15)
        await crowd.flowing()
        stack.redis.kill()
        frozen.thaw()  # all that it had still to say is overdue: it is done in no time, before the others
        runs = await crowd.all_whole()
        assert [(run["attempt"], run["crashes"]) for run in runs] == [(2, 1)] * 5


@pytest.mark.enough_on("postgres")
async def test_after_a_kill_the_first_new_token_comes_within_ten_seconds(new_stack: NewStack) -> None:
    """With the real lease: nothing is shortened here."""
    stack = new_stack(workers=1, env={"CHAT_LLM": demo(100, 4)})
    [doomed] = stack.workers
    async with stack.client(stack.person("ada")) as client:
        session_id = await client.new_session()
        fold = await client.subscribe(session_id)
        stack.add_worker()
        stack.workers[1].freeze()
        run_id = await client.say(session_id, "Count")
        await client.shown(session_id, run_id, characters=30)
        stack.workers[1].thaw()
        doomed.kill()
        killed_at = time.monotonic()
        again = lambda: fold.runs[run_id]["attempt"] == 2 and fold.draft(run_id)  # noqa: E731
        await client.until(again, "the next attempt shows something", 20)
        took_s = time.monotonic() - killed_at
        print(f"kill -9 to the first new token: {took_s:.1f} s")
        [answer] = await client.answered(session_id, run_id)
        assert answer["content"] == numbered(100)
        await client.agrees()
        assert took_s < 10 * PATIENCE


async def test_a_stopped_worker_hands_its_answers_over(stack: Stack) -> None:
    old, new = stack.workers
    new.kill()
    async with stack.client(stack.person("ada")) as client:
        crowd = Crowd(stack, client, tokens=200, seconds=8)
        await crowd.ask()
        new.spawn()
        assert crowd.in_flight() == 20
        old.terminate()
        stopped_at = time.monotonic()
        assert await asyncio.to_thread(old.wait, 10) == 0
        print(f"SIGTERM to the worker's end: {time.monotonic() - stopped_at:.1f} s")
        runs = await crowd.all_whole()
        assert [(run["attempt"], run["crashes"]) for run in runs] == [(2, 0)] * 20
        reasons = [frame["data"]["reason"] for _, frame in client.received if frame["type"] == "run.restarted"]
        assert reasons == ["drained"] * 20


@pytest.mark.enough_on("postgres")
async def test_a_run_that_kills_its_workers_is_given_up_after_three_crashes(new_stack: NewStack) -> None:
    env = QUICK | {"CHAT_CRASHES_MAX": "3", "CHAT_FAILPOINTS": "claim.committed=exit"}
    stack = new_stack(workers=1, env=env)
    [worker] = stack.workers
    async with stack.client(stack.person("ada")) as client:
        session_id = await client.new_session()
        fold = await client.subscribe(session_id)
        run_id = await client.say(session_id, "Die")

        async def revive() -> None:
            while True:
                await asyncio.sleep(0.1)
                if not worker.alive:
                    worker.spawn()

        reviving = asyncio.create_task(revive())
        try:
            [run] = await client.ended(session_id, run_id, within_s=60)
        finally:
            reviving.cancel()
        assert (run["status"], run["crashes"], run["error"]["code"]) == ("failed", 3, "worker_lost")
        assert [row["kind"] for row in fold.messages.values() if row["role"] == "system"] == ["error"]
        await client.agrees()


@pytest.mark.parametrize("point", ["claim.commit", "claim.committed", "attempt.fenced", "finish.committed"])
async def test_a_worker_that_dies_between_two_steps_loses_nothing(stack: Stack, point: str) -> None:
    for worker in stack.workers:
        worker.kill()
    doomed = stack.add_worker(CHAT_FAILPOINTS=f"{point}=exit")
    async with stack.client(stack.person("ada")) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        run_id = await client.say(session_id, "Count", llm=demo(20, 0.4))
        assert await asyncio.to_thread(doomed.wait, 20) == 1, "the failpoint was not reached"
        stack.workers[0].start()
        [answer] = await client.answered(session_id, run_id)
        assert answer["content"] == numbered(20)
        assert len(client.folds[session_id].answers()) == 1
        await client.agrees()


@pytest.mark.enough_on("sqlite")
async def test_killing_everything_at_once_and_starting_again_loses_nothing(stack: Stack) -> None:
    async with stack.client(stack.person("ada"), web=(0, 1), stays=True) as client:
        crowd = Crowd(stack, client, tokens=100, seconds=4)
        await crowd.ask(10)
        everything = [stack.redis, *stack.webs, *stack.workers]
        for part in everything:
            part.kill()
        for part in everything:
            part.spawn()
        await crowd.all_whole()
