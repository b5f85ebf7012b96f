"""Who may do how much: counted in Redis over all processes, and by each process alone while Redis is away."""

import hashlib
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import redis
from django.conf import settings

from chat import shards
from chat.errors import RateLimited, TooManyConnections
from chat.outbox import outbox
from chat.patience import Patience

WINDOW_S = 10.0
SIGN_INS_WINDOW_S = 60.0
NAMES_PER_ADDRESS = 5  # many people may sit behind one address
PATIENCE_S = 0.1  # on an event loop; of a thread, `shards.impatient` has it
SOCKET_TTL_S = 60.0  # an entry of a process that died is forgotten after this

# A moving window. Returns the milliseconds to wait, 0 when the token was taken.
SPEND = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local window = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return math.max(1, tonumber(oldest[2]) + window - now)
end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], window)
return 0
"""

GIVE_BACK = "return redis.call('ZREM', KEYS[1], ARGV[1])"

# Sockets of a user, each good for a while. Returns 1 when there was room or it was counted already.
HOLD = """
local t = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', t[1])
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], t[1] + ARGV[3], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""

# Sockets that live, each with its user's key.
KEEP = """
local t = redis.call('TIME')
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, t[1] + ARGV[1], ARGV[i + 1])
  redis.call('EXPIRE', key, ARGV[1])
end
return #KEYS
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """A token of the window, so that it can be given back."""

    key: str
    token: str


_windows: dict[str, deque[tuple[float, str]]] = defaultdict(deque)
_sockets: dict[str, set[str]] = defaultdict(set)
_lock = threading.Lock()


async def spend_message(user_id: object, session_id: object, token: str) -> Spent | None:
    """Count one message, on an event loop. Raises `RateLimited`."""
    limit = settings.CHAT_MESSAGES_PER_10S
    if not limit:
        return None
    key = f"chat:sent:{user_id}:{session_id}"
    wait_ms = await _asking(key, SPEND, limit, int(WINDOW_S * 1000), token)
    wait_s = _spend_here(key, limit, token, WINDOW_S) if wait_ms is None else wait_ms / 1000
    if wait_s > 0:
        raise RateLimited(retry_after_s=wait_s)
    return Spent(key, token)


def spend_sign_in(username: str, address: str) -> list[Spent]:
    """Count an attempt to sign in, by name and by address; `give_back` what a right password has spent.

    Raises `RateLimited`.
    """
    limit = settings.CHAT_SIGN_INS_PER_MINUTE
    if not limit:
        return []
    token = uuid4().hex
    spent: list[Spent] = []
    for kind, who, bound in (("name", username, limit), ("address", address, NAMES_PER_ADDRESS * limit)):
        key = f"chat:sign-ins:{kind}:{hashlib.sha256(who.encode(errors='replace')).hexdigest()[:32]}"
        wait_ms = _ask(SPEND, [key], bound, int(SIGN_INS_WINDOW_S * 1000), token)
        wait_s = _spend_here(key, bound, token, SIGN_INS_WINDOW_S) if wait_ms is None else wait_ms / 1000
        if wait_s > 0:
            for one in spent:
                give_back(one)
            raise RateLimited("Too many attempts to sign in.", retry_after_s=wait_s)
        spent.append(Spent(key, token))
    return spent


def give_back(spent: Spent | None) -> None:
    """Nothing was sent after all. It is back when this has ended: what is sent next does not find it missing."""
    if spent is not None:
        _give_back_here(spent)
        _ask(GIVE_BACK, [spent.key], spent.token)


async def giving_back(spent: Spent | None) -> None:
    """The same on an event loop."""
    if spent is not None:
        _give_back_here(spent)
        await _asking(spent.key, GIVE_BACK, spent.token)


def _give_back_here(spent: Spent) -> None:
    with _lock:
        window = _windows.get(spent.key)
        if window:
            _windows[spent.key] = deque(one for one in window if one[1] != spent.token)


def hold_socket(user_id: object, socket_id: str) -> None:
    """Count an open socket. Raises `TooManyConnections`."""
    limit = settings.CHAT_SOCKETS_PER_USER
    if not limit:
        return
    key = f"chat:sockets:{user_id}"
    with _lock:
        mine = _sockets[key]
        if socket_id not in mine and len(mine) >= limit:
            raise TooManyConnections
        mine.add(socket_id)
    if _ask(HOLD, [key], limit, socket_id, int(SOCKET_TTL_S)) == 0:
        _forget(key, socket_id)
        raise TooManyConnections


def keep_sockets(held: Iterable[tuple[object, str]]) -> None:
    """Say which sockets still live, by their users: again and again, and in one call for each Redis.

    What is open is counted, whatever the limit: Redis may have let others in while it had forgotten these.
    """
    if not settings.CHAT_SOCKETS_PER_USER:
        return
    by_shard: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for user_id, socket_id in held:
        key = f"chat:sockets:{user_id}"
        if socket_id in _sockets.get(key, ()):  # else it was released meanwhile, by another thread
            by_shard[shards.shard_of(key)].append((key, socket_id))
    for some in by_shard.values():
        keys, ids = zip(*some, strict=True)
        _ask(KEEP, keys, int(SOCKET_TTL_S), *ids)
        for key, socket_id in some:
            if socket_id not in _sockets.get(key, ()):
                _tell_released(key, socket_id)


def release_socket(user_id: object, socket_id: str) -> None:
    key = f"chat:sockets:{user_id}"
    _forget(key, socket_id)
    _tell_released(key, socket_id)


def _tell_released(key: str, socket_id: str) -> None:
    outbox.put(key, lambda pipe: pipe.zrem(key, socket_id))


def _forget(key: str, socket_id: str) -> None:
    with _lock:
        _sockets[key].discard(socket_id)
        if not _sockets[key]:
            del _sockets[key]


def _ask(script: str, keys: Sequence[str], *args: str | int) -> int | None:
    """Run a script on keys of one Redis. None where that is away."""
    shard = shards.shard_of(keys[0])
    if outbox.is_away(shard):
        return None
    try:
        return int(shards.impatient(shard).eval(script, len(keys), *keys, *args))
    except redis.RedisError:
        outbox.pause(shard)
        return None


async def _asking(key: str, script: str, *args: str | int) -> int | None:
    """The same on an event loop, of one key."""
    shard = shards.shard_of(key)
    if outbox.is_away(shard):
        return None
    try:
        async with Patience(PATIENCE_S):
            client: Any = shards.layer().redis(key)
            try:
                return int(await client.eval(script, 1, key, *args))
            except redis.ConnectionError:  # a pooled connection had died
                return int(await client.eval(script, 1, key, *args))
    except (redis.RedisError, OSError, TimeoutError):
        outbox.pause(shard)
        return None


def _spend_here(key: str, limit: int, token: str, window_s: float) -> float:
    now = time.monotonic()
    with _lock:
        if len(_windows) > 10_000:
            _windows.clear()  # the bound matters more than the count of those who were quiet
        window = _windows[key]
        while window and window[0][0] <= now - window_s:
            window.popleft()
        if len(window) >= limit:
            return window[0][0] + window_s - now
        window.append((now, token))
        return 0.0
