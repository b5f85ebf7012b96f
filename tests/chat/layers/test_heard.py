"""What the channel layer promises while all is well, to listeners and to consumers of the stock kind."""

import asyncio
from typing import Any

import redis as redis_py

from chat.layers import ChatChannelLayer, Listener
from tests.chat.layers.hearing import WAIT_S, Heard, channel, group, hears, shard, subscribers, until

# --- listeners --------------------------------------------------------------------------------------------------------


async def test_all_listeners_of_a_group_share_one_subscription_and_one_decoded_message(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name, ada, ben = group(), Heard(), Heard()
    assert await layer.listen(name, ada)
    assert await layer.listen(name, ben)
    assert subscribers(redis, name) == 1
    assert redis.publish(channel(name), layer.serialize({"type": "event", "frame": [1]})) == 1
    await until(lambda: ada.messages and ben.messages, "both hear it")
    assert ada.messages == [{"type": "event", "frame": [1]}]
    assert ada.messages[0] is ben.messages[0]
    assert ada.gaps == ben.gaps == 0


async def test_listening_returns_when_redis_has_confirmed_it_and_not_before(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    for _ in range(30):
        name, heard = group(), Heard()
        assert await layer.listen(name, heard)
        assert redis.publish(channel(name), layer.serialize({"type": "at once"})) == 1
        assert layer.is_healthy(name)


async def test_two_who_listen_at_the_same_moment_are_both_confirmed_and_ask_once(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name, ada, ben = group(), Heard(), Heard()
    assert await asyncio.gather(layer.listen(name, ada), layer.listen(name, ben)) == [True, True]
    await hears(layer, name, ada, ben)
    assert (ada.gaps, ben.gaps) == (0, 0)  # a second SUBSCRIBE would have been confirmed twice


async def test_order_is_kept_and_nothing_is_doubled(layer: ChatChannelLayer, redis: redis_py.Redis) -> None:
    name, heard = group(), Heard()
    await layer.listen(name, heard)
    pipe = redis.pipeline(transaction=False)
    for number in range(2000):
        pipe.publish(channel(name), layer.serialize({"type": "event", "number": number}))
    pipe.execute()
    await until(lambda: len(heard.messages) >= 2000, "all arrive")
    assert [message["number"] for message in heard.messages] == list(range(2000))


async def test_who_leaves_leaves_nothing_behind(layer: ChatChannelLayer, redis: redis_py.Redis) -> None:
    name, ada, ben = group(), Heard(), Heard()
    await layer.listen(name, ada)
    await layer.listen(name, ben)
    await layer.unlisten(name, ada)
    await hears(layer, name, ben)
    assert ada.messages == []
    await layer.unlisten(name, ben)
    await until(lambda: subscribers(redis, name) == 0, "the subscription is gone")
    mine = shard(layer, name)
    assert (mine._wanted, mine._confirmed, mine._waiting) == (set(), set(), {})
    assert layer._get_layer()._listeners == {}
    assert not layer.is_healthy(name)
    await layer.unlisten(name, ben)  # twice is no mistake


async def test_who_is_cancelled_while_listening_leaves_nothing_behind_either(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name, heard = group(), Heard()
    asking = asyncio.ensure_future(layer.listen(name, heard))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    await layer.unlisten(name, heard)
    other = Heard()
    await layer.listen(group(), other)  # by now the first request has been answered
    assert subscribers(redis, name) == 0
    assert name not in str(shard(layer, name)._wanted)


async def test_one_who_comes_while_the_last_one_leaves_is_not_left_deaf(layer: ChatChannelLayer) -> None:
    for _ in range(20):
        name, old, new = group(), Heard(), Heard()
        await layer.listen(name, old)
        leaving = asyncio.ensure_future(layer.unlisten(name, old))
        for _ in range(3):
            await asyncio.sleep(0)
        assert await layer.listen(name, new)
        await leaving
        await hears(layer, name, new)


async def test_flushed_it_can_be_used_again(layer: ChatChannelLayer, redis: redis_py.Redis) -> None:
    name, heard = group(), Heard()
    await layer.listen(name, heard)
    await layer.flush()
    await until(lambda: subscribers(redis, name) == 0, "the connection is closed")
    assert await layer.listen(name, heard)
    await hears(layer, name, heard)


async def test_garbage_on_a_channel_and_a_listener_that_fails_do_no_harm(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name, good = group(), Heard()

    def fail(message: dict[str, Any]) -> None:
        raise KeyError(message["type"])

    await layer.listen(name, Listener(fail, lambda: None))
    await layer.listen(name, good)
    for garbage in (b"", b"\xc1\xff\x00", b"not msgpack at all", b"\x93\x01", b"x" * 100_000):
        redis.publish(channel(name), garbage)
    redis.publish(shard(layer, name)._heart, b"\xc1")
    await hears(layer, name, good)
    assert good.gaps == 0 and layer.is_healthy(name)


# --- the stock interface ----------------------------------------------------------------------------------------------


async def test_the_stock_interface_still_works(layer: ChatChannelLayer, redis: redis_py.Redis) -> None:
    name, ada, ben = group(), await layer.new_channel(), await layer.new_channel()
    await layer.send(ada, {"type": "to.ada"})
    assert await asyncio.wait_for(layer.receive(ada), WAIT_S) == {"type": "to.ada"}
    for one in (ada, ben):
        await layer.group_add(name, one)
    await layer.group_send(name, {"type": "to.all"})
    for one in (ada, ben):
        assert await asyncio.wait_for(layer.receive(one), WAIT_S) == {"type": "to.all"}
    await layer.group_discard(name, ada)
    await layer.group_send(name, {"type": "to.ben"})
    assert await asyncio.wait_for(layer.receive(ben), WAIT_S) == {"type": "to.ben"}
    await layer.group_discard(name, ben)
    await until(lambda: subscribers(redis, name) == 0, "nobody is subscribed")


async def test_a_listener_and_a_stock_consumer_of_one_group_do_not_take_it_from_each_other(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name, heard, consumer = group(), Heard(), await layer.new_channel()
    await layer.group_add(name, consumer)
    await layer.listen(name, heard)
    await hears(layer, name, heard)
    assert (await asyncio.wait_for(layer.receive(consumer), WAIT_S))["type"] == "mark"
    await layer.unlisten(name, heard)
    await layer.group_send(name, {"type": "for.the.consumer"})
    assert await asyncio.wait_for(layer.receive(consumer), WAIT_S) == {"type": "for.the.consumer"}
    await layer.listen(name, heard)
    await layer.group_discard(name, consumer)
    await hears(layer, name, heard)
    assert subscribers(redis, name) == 1


async def test_a_consumer_that_is_cancelled_leaves_no_subscription(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name = await layer.new_channel()
    receiving = asyncio.ensure_future(layer.receive(name))
    await asyncio.sleep(0)
    receiving.cancel()
    await asyncio.wait({receiving})
    await until(lambda: redis.pubsub_numsub(name)[0][1] == 0, "its channel is gone")
