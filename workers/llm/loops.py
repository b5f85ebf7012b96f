"""HTTP clients, one per event loop: a client's connections belong to the loop that opened them."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar


class Closes(Protocol):
    async def close(self) -> None: ...


Client = TypeVar("Client", bound=Closes)

_clients: dict[asyncio.AbstractEventLoop, dict[Hashable, Closes]] = {}


def client_here(key: Hashable, make: Callable[[], Client]) -> Client:
    """Return the running loop's client for that key; make it on first use."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        # A loop that was closed without `close_clients` took its sockets along; only the entry is left.
        for old in [known for known in list(_clients) if known.is_closed()]:
            _clients.pop(old, None)
        _clients[loop] = {}
    clients = _clients[loop]
    if key not in clients:
        clients[key] = make()
    return clients[key]  # type: ignore[return-value]  # a key is used with one kind of client


async def close_clients() -> None:
    """Close the running loop's clients. Whoever ends a loop calls this last."""
    for client in _clients.pop(asyncio.get_running_loop(), {}).values():
        await client.close()
