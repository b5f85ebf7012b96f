"""The storm: workers and web processes are killed again and again while a hundred answers are being written."""

import asyncio
import math
import time
from dataclasses import dataclass, field

from tests.chaos.matrix.audience import Audience
from tests.chaos.matrix.paces import LONG
from tests.chaos.matrix.scene import Found, Scene, fault, off, restart
from tests.processes import Process
from tests.stack import Stack

WORKERS, SESSIONS, CLIENTS, AT_LEAST = 4, 140, 6, 20
WEB_EVERY = 5  # kills of workers for one of a web process


@dataclass
class Kill:
    """One kill -9 of a worker: the runs it held, and of these the answers of which something was on a screen."""

    at: float
    held: dict[str, int]  # run: attempt
    hit: dict[str, int]


def percentile(values: list[float], share: float) -> float:
    """The value that so large a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else float("nan")


async def held_by_workers(stack: Stack) -> dict[Process, dict[str, int]]:
    """Each living worker's runs, and their attempts."""
    query = "list(Run.objects.filter(status='running').values_list('id', 'attempt', 'worker__name'))"
    rows = await off(stack.ask, query)
    held: dict[Process, dict[str, int]] = {worker: {} for worker in stack.workers if worker.alive}
    for run_id, attempt, name in rows:
        for worker, runs in held.items():
            if str(name).endswith(f":{worker.pid}"):
                runs[run_id] = attempt
    return held


async def streaming_on(stack: Stack, audience: Audience) -> dict[Process, dict[str, int]]:
    """Each living worker's answers of which something is shown."""
    held, shown = await held_by_workers(stack), audience.streaming()
    return {
        worker: {run: attempt for run, attempt in runs.items() if shown.get(run) == attempt}
        for worker, runs in held.items()
    }


@dataclass
class Recoveries:
    """What followed the kills."""

    seconds: list[float] = field(default_factory=list)  # from a kill to the next new piece of an answer it hit
    confirmed: int = 0  # answers that were hit and begun anew: one that is hit again counts again
    runs: set[str] = field(default_factory=set)  # the same, each once
    again: int = 0  # of these, hit again before a word was shown: measured from the last kill


def recoveries(audience: Audience, kills: list[Kill]) -> Recoveries:
    found = Recoveries()
    for kill in kills:
        for run_id, attempt in kill.hit.items():
            for client in audience.clients:
                if client.restarted.get((run_id, attempt + 1)) != "worker_lost":
                    continue
                found.confirmed += 1
                found.runs.add(run_id)
                seen = [(at, nth) for (run, nth), at in client.first_seen.items() if run == run_id and nth > attempt]
                if not seen:
                    continue  # given up, or never seen: more than a few of these fail the row
                at, nth = min(seen)
                last = max(one.at for one in kills if attempt <= one.held.get(run_id, -1) < nth)
                found.again += last > kill.at
                found.seconds.append(at - last)
    return found


@fault(
    1,
    "storm",
    "kill -9 of workers that write 20 or more answers each, and of web processes",
    "each answer arrives once and whole; the first new token within 10 s (p99)",
    within_s=900,
)
async def storm(scene: Scene) -> Found:
    # An answer may be hit more often than a user's ever will: the limit of three crashes has a row of its own.
    stack = scene.new_stack(webs=2, workers=WORKERS, llm=True, env={"CHAT_CRASHES_MAX": "1000"})
    await off(stack.start)
    async with scene.audience(stack, clients=CLIENTS, sessions=SESSIONS, pace=LONG) as audience:
        audience.start()
        await audience.flowing(0.8)
        kills: list[Kill] = []
        webs, reviving = 0, set()
        hits = lambda: sum(len(kill.hit) for kill in kills)  # noqa: E731
        # A few more: an answer that ends in the moment of the kill is hit, and is not begun anew.
        while len(kills) < scene.kills or hits() < 1.1 * scene.hits:
            worker, kill = await busy_worker(stack, audience, scene)
            kills.append(kill)
            worker.kill()
            worker.spawn()
            if len(kills) % WEB_EVERY == 0 and all(web.alive for web in stack.webs):
                web = scene.dice.choice(stack.webs)
                web.kill()
                webs += 1
                task = asyncio.create_task(restart(web))
                reviving.add(task)
                task.add_done_callback(reviving.discard)
            if len(kills) % 5 == 0:
                scene.tell(f"{len(kills)} kills of workers, {webs} of web processes; {hits()} answers hit")
            await asyncio.sleep(scene.dice.uniform(0, 1))
        await asyncio.gather(*reviving)
        tally = await audience.stop(within_s=90)
        found = recoveries(audience, kills)
        resent = audience.count("sent again")
    seconds = found.seconds
    p50, p99, longest = percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds, default=float("nan"))
    failure = "" if p99 <= 10 else f"p99 of the recovery is {p99:.1f} s"
    if found.confirmed < max(scene.hits, hits() * 0.9):
        failure = f"only {found.confirmed} of {hits()} answers hit were begun anew"
    if len(seconds) < 0.99 * found.confirmed:
        failure = f"of {found.confirmed} answers begun anew no word was seen but of {len(seconds)}"
    note = (
        f"{len(kills)} kills of workers and {webs} of web processes; {len(found.runs)} answers were killed "
        f"in the middle, {found.confirmed} times in all; of {len(seconds)} a new word was seen: "
        f"recovery p50 {p50:.1f} s, p99 {p99:.1f} s, max {longest:.1f} s ({found.again} answers were hit again before "
        f"a word of the next attempt was shown: theirs counts from there); {resent} messages sent again"
    )
    figures = {
        "worker_kills": len(kills), "web_kills": webs, "answers_killed": found.confirmed,
        "recovery_p50_s": round(p50, 2), "recovery_p99_s": round(p99, 2), "recovery_max_s": round(longest, 2),
    }  # fmt: skip
    return Found(len(kills) + webs, tally, note, figures, failure)


async def busy_worker(stack: Stack, audience: Audience, scene: Scene) -> tuple[Process, Kill]:
    """Wait for a worker with enough answers on screens, and choose one to be killed now."""
    deadline = time.monotonic() + 60
    while True:
        held, shown = await held_by_workers(stack), audience.streaming()
        kills = [
            (worker, Kill(time.monotonic(), runs, {run: nth for run, nth in runs.items() if shown.get(run) == nth}))
            for worker, runs in held.items()
        ]
        busy = [(worker, kill) for worker, kill in kills if len(kill.hit) >= AT_LEAST]
        # One at a time: where all workers are dead at once, it is their start that one would measure.
        if busy and all(worker.alive and worker.ready(worker) for worker in stack.workers):
            return scene.dice.choice(busy)
        problems = [client.problem for client in audience.clients if client.problem]
        assert not problems, f"a client broke: {problems[0]!r}"
        assert time.monotonic() < deadline, "no worker is busy"
        await asyncio.sleep(0.2)
