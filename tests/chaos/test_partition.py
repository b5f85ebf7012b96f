"""A silent partition: Redis in a network namespace whose link goes down, so that nothing arrives and nothing fails.

CHAT_TEST_PARTITION_S: for how long (15 s, longer than a connection is believed; 75 s is longer than TCP's keepalive).
Where no namespace may be made, what the kernel says at the end of such a partition is put into the reader instead.
"""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis as redis_py

from chat import layers
from chat.layers import ChatChannelLayer
from tests.chaos.crowd import demo
from tests.chat.layers.test_lost import test_a_socket_that_died_of_a_time_out_does_not_stop_the_loop as reader_fault
from tests.journeys.test_answers import numbered
from tests.processes import PATIENCE
from tests.servers import Redis
from tests.stack import Stack, Workshop, answers

PARTITION_S = float(os.environ.get("CHAT_TEST_PARTITION_S", "15"))
ANSWER = demo(120, 4)


class Apart:
    """A network namespace with one link to here."""

    def __init__(self) -> None:
        number = os.getpid() % 200 + 20
        self.name, self.here, self.there = f"chat{os.getpid()}", f"ca{os.getpid()}", f"cb{os.getpid()}"
        self.near, self.far = f"10.231.{number}.1", f"10.231.{number}.2"

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)

    def make(self) -> None:
        self._ip("netns", "add", self.name)
        self._ip("link", "add", self.here, "type", "veth", "peer", "name", self.there)
        self._ip("link", "set", self.there, "netns", self.name)
        self._ip("addr", "add", f"{self.near}/24", "dev", self.here)
        self._ip("link", "set", self.here, "up")
        self._ip("-n", self.name, "addr", "add", f"{self.far}/24", "dev", self.there)
        self.join()

    def part(self) -> None:
        """The far end goes down: on this side packets leave and are heard of no more."""
        self._ip("-n", self.name, "link", "set", self.there, "down")

    def join(self) -> None:
        self._ip("-n", self.name, "link", "set", self.there, "up")

    def remove(self) -> None:
        for words in (("link", "del", self.here), ("netns", "del", self.name)):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                self._ip(*words)


class FarRedis(Redis):
    def __init__(self, folder: Path, apart: Apart) -> None:
        super().__init__(folder, "far-redis")
        self.url = f"redis://{apart.far}:{self.port}/0"
        at = self.command.index("--bind")
        self.command[at + 1] = apart.far
        self.command = ["ip", "netns", "exec", apart.name, *self.command, "--protected-mode", "no"]

    def client(self) -> redis_py.Redis:
        return redis_py.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=1)


@contextlib.contextmanager
def apart() -> Iterator[Apart | None]:
    """None where the machine allows no namespace."""
    made = Apart()
    try:
        try:
            made.make()
        except (OSError, subprocess.SubprocessError) as problem:
            print(f"no network namespace here ({type(problem).__name__}): the fault is put into the reader instead")
            yield None
        else:
            yield made
    finally:
        made.remove()


async def test_a_silent_partition_stops_no_loop_and_the_table_tells_meanwhile(
    workshop: Workshop, redis_server: Redis
) -> None:
    assert PARTITION_S > layers.LOST_S
    with apart() as network:
        if network is None:
            layer = ChatChannelLayer(hosts=[redis_server.url])
            await reader_fault(layer)
            await layer.flush()
            return
        with Stack(workshop, "sqlite", webs=0, workers=0, env={"CHAT_LLMS": ANSWER}) as stack:
            stack.start()
            far = FarRedis(stack.folder, network)
            far.start()
            try:
                stack.add_web(REDIS_URL=far.url)
                stack.add_worker(REDIS_URL=far.url)
                await _part_and_join(stack, network)
            finally:
                far.end()


async def _part_and_join(stack: Stack, network: Apart) -> None:
    async with stack.client(stack.person("ada")) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        run_id = await client.say(session_id, "Before", llm=ANSWER)
        await client.shown(session_id, run_id, 50)

        network.part()
        parted_at, ticks, longest_s = time.monotonic(), 0, 0.0
        [answer] = await client.answered(session_id, run_id, within_s=PARTITION_S)
        assert answer["content"] == numbered(120)
        told_after_s = time.monotonic() - parted_at
        run_id = await client.say(session_id, "Meanwhile", llm=ANSWER)
        while time.monotonic() - parted_at < PARTITION_S:
            began = time.monotonic()
            assert await asyncio.to_thread(answers, stack.webs[0].url + "/healthz"), "the loop stands"
            ticks, longest_s = ticks + 1, max(longest_s, time.monotonic() - began)
            await client.command("ping")
            await asyncio.sleep(0.1)
        [answer] = await client.answered(session_id, run_id)
        assert answer["content"] == numbered(120)

        network.join()
        joined_at = time.monotonic()
        live_after_s = None
        while live_after_s is None:
            run_id = await client.say(session_id, "After", llm=ANSWER)
            with contextlib.suppress(AssertionError):
                await client.shown(session_id, run_id, within_s=5)
                live_after_s = time.monotonic() - joined_at
            [answer] = await client.answered(session_id, run_id)
            assert answer["content"] == numbered(120)
            assert time.monotonic() - joined_at < 30 * PATIENCE, "it stays dumb"
        await client.agrees()
        print(
            f"{PARTITION_S:g} s apart: an answer that was under way was told of after {told_after_s:.1f} s;"
            f" {ticks} ticks, the longest {longest_s * 1000:.0f} ms; live again {live_after_s:.1f} s after healing"
        )
