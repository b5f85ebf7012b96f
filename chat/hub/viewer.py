"""Who a hub relays to: a socket's subscription, or a request that waits."""

from chat.errors import ChatError
from chat.protocol import Delta, Frame, Reader


class Viewer:
    """Override what matters; the rest does nothing. All of it is called on the hub's event loop."""

    def __init__(self, reader: Reader, seq: int) -> None:
        self.reader = reader
        self.seq = seq  # the last durable frame that it was given

    async def room(self) -> None:
        """Wait while much of what it was given is still on its way."""

    def on_event(self, frame: Frame) -> None:
        """Take the next durable frame."""

    def on_delta(self, delta: Delta) -> None:
        """Take a piece of a message: at offset 0 all of it so far, else what follows."""

    def on_live(self, text: str, sender: str) -> None:
        """Take a frame outside of the log that a socket caused."""

    def forget(self, *, run_id: str | None = None, message_id: str | None = None) -> None:
        """Drop what still waits of a run's or a message's deltas."""

    def on_removed(self, problem: ChatError | None) -> None:
        """Nothing more will come: for a reason that the last frame told, or for a problem that no frame tells."""
