"""What an event loop asks Redis through the layer, with commands that are put together in C."""

import asyncio

import pytest

from chat.layers import ChatChannelLayer
from tests.chat.layers.hearing import group

HUGE = b"\0\r\n$3\r\n" * 500_000  # 4 MB, and looks like what it travels in


async def test_values_of_each_kind_arrive_as_they_are(layer: ChatChannelLayer) -> None:
    redis = layer.redis(group())
    for value, arrives in (
        ("数据 😀", "数据 😀".encode()),
        ("", b""),
        (b"\x00\xff\r\n", b"\x00\xff\r\n"),
        (-7, b"-7"),
        (0.25, b"0.25"),
        (HUGE, HUGE),
    ):
        assert await redis.execute_command("ECHO", value) == arrives


async def test_a_pipeline_is_answered_in_its_order_and_a_name_of_two_words_is_two(layer: ChatChannelLayer) -> None:
    redis = layer.redis(group())
    sha = await redis.script_load("return {KEYS[1], ARGV[1]}")
    pipe = redis.pipeline(transaction=False)
    for number in range(1000):
        pipe.evalsha(sha, 1, f"key {number}", f"value {number}")
    assert await pipe.execute() == [[f"key {n}".encode(), f"value {n}".encode()] for n in range(1000)]


async def test_a_value_that_is_none_is_refused_and_its_connection_serves_the_next(layer: ChatChannelLayer) -> None:
    redis = layer.redis(group())
    with pytest.raises(TypeError):
        await redis.execute_command("ECHO", None)
    async with asyncio.timeout(5):
        assert await redis.execute_command("ECHO", "still there") == b"still there"
