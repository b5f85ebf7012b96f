"""What is published, and to whom: durable frames, deltas, drafts, nudges; and the fence that deltas have to pass."""

from collections.abc import Iterable
from typing import Any

import redis

from chat import shards
from chat.outbox import Pipeline, outbox
from chat.protocol import Delta, Frame

DELTAS = MESSAGE, REASONING = "message.delta", "reasoning.delta"

DRAFT_TTL_MS = 15 * 60 * 1000


def session_group(session_id: object) -> str:
    return f"session.{session_id}"


def worker_group(worker_id: object) -> str:
    return f"worker.{worker_id}"


def fence_key(session_id: object, run_id: object) -> str:
    return f"chat:fence:{session_id}:{run_id}"


def draft_key(session_id: object, message_id: object, kind: str = MESSAGE) -> str:
    return f"chat:draft:{session_id}:{message_id}" + ("" if kind == MESSAGE else ":reasoning")


# --- the scripts ------------------------------------------------------------------------------------------------------
# A worker's delta: checks the fence, keeps the text so far, tells the live group.
#   1 done · -1 fenced · -2 the draft is not what the worker thinks: send it in full · -3 held by a cancel: wait
#   -4 no fence (Redis was emptied): look at the row, set the fence, send in full
APPEND = """
local f = redis.call('HMGET', KEYS[1], 'a', 'h')
local a = tonumber(f[1])
local mine = tonumber(ARGV[1])
if a and a > mine then return -1 end
if f[2] then
  local t = redis.call('TIME')
  if tonumber(f[2]) > t[1] * 1000 + math.floor(t[2] / 1000) then return -3 end
end
if not a then return -4 end
if a < mine then redis.call('HSET', KEYS[1], 'a', mine) end
if ARGV[3] == '1' then
  redis.call('SET', KEYS[2], ARGV[4])
else
  if redis.call('STRLEN', KEYS[2]) ~= tonumber(ARGV[2]) then return -2 end
  redis.call('APPEND', KEYS[2], ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1
"""

# Raise the fence to an attempt; it never falls.
RAISE = """
local a = tonumber(redis.call('HGET', KEYS[1], 'a') or '0')
if a < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'a', ARGV[1]) end
if ARGV[3] == '1' then redis.call('HDEL', KEYS[1], 'h') end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

# Hold a run's deltas for a moment and return its drafts: what a cancel keeps is what was shown.
TAKE = """
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'h', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local texts = {}
for i = 2, #KEYS do texts[i - 1] = redis.call('GET', KEYS[i]) end
return texts
"""


def publish(session_id: object, frames: Iterable[Frame]) -> None:
    """Tell everybody in a session's live group about durable frames."""
    layer = shards.layer()
    messages = [layer.serialize({"type": "event", "frame": frame.pack()}) for frame in frames]
    outbox.tell(session_group(session_id), *messages)


def delta_message(delta: Delta) -> bytes:
    message: bytes = shards.layer().serialize({"type": "delta", "delta": delta.pack()})
    return message


def publish_live(session_id: object, text: str, sender: str) -> None:
    """A frame outside of the log, as its text; `sender` is the socket that need not hear it."""
    message = shards.layer().serialize({"type": "live", "text": text, "sender": sender})
    outbox.tell(session_group(session_id), message)


def nudge(worker_id: object, run_id: object) -> None:
    """Tell a worker to look at one of its runs now. Without it the worker finds out at its next lease tick."""
    message = shards.layer().serialize({"type": "nudge", "run_id": str(run_id)})
    outbox.tell(worker_group(worker_id), message)


def raise_fence(session_id: object, run_id: object, attempt: int, drop: Iterable[str] = ()) -> None:
    """Refuse deltas below an attempt from now on, and forget drafts."""
    drafts = [draft_key(session_id, message_id, kind) for message_id in drop for kind in DELTAS]

    def send(pipe: Pipeline) -> None:
        pipe.eval(RAISE, 1, fence_key(session_id, run_id), attempt, DRAFT_TTL_MS, "1")
        if drafts:
            pipe.delete(*drafts)

    outbox.put(session_group(session_id), send)


def take(session_id: object, run_id: object, message_ids: list[str], hold_ms: int = 2000) -> dict[str, str] | None:
    """Hold the deltas of a run for a moment and return its drafts; None without Redis. Not inside a transaction."""
    shard = shards.shard_of(session_group(session_id))
    if outbox.is_away(shard):
        return None
    keys = [fence_key(session_id, run_id), *(draft_key(session_id, one) for one in message_ids)]
    try:
        texts = shards.impatient(shard).eval(TAKE, len(keys), *keys, hold_ms, DRAFT_TTL_MS)
    except redis.RedisError:
        outbox.pause(shard)
        return None
    found = {}
    for message_id, text in zip(message_ids, texts, strict=False):
        if text is not None:
            found[message_id] = text.decode("utf-8", "replace")
    return found


def peek(session_id: object, message_ids: list[str]) -> dict[str, str] | None:
    """The drafts of a session as they are now, for whoever only looks; None without Redis."""
    shard = shards.shard_of(session_group(session_id))
    if outbox.is_away(shard):
        return None
    keys = [draft_key(session_id, one) for one in message_ids]
    try:
        texts: Any = shards.impatient(shard).mget(keys) if keys else []
    except redis.RedisError:
        outbox.pause(shard)
        return None
    return {one: text.decode("utf-8", "replace") for one, text in zip(message_ids, texts, strict=True) if text}
