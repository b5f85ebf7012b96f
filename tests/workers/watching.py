"""What a hub is told of an answer that is being written, and what a client makes of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chat import stream
from chat.models import Run
from chat.protocol import Delta
from tests.inside import WAIT_S
from workers.publish import Draft, Publisher

NEVER_MS = 3_600_000


@dataclass
class Watching:
    """What a hub of this session is told, and a run whose answer is being written."""

    run: Run
    publisher: Publisher
    deltas: list[Delta] = field(default_factory=list)
    fenced: int = 0

    def draft(self, kind: str = stream.MESSAGE) -> Draft:
        return Draft(self.publisher, self.run, kind, self._on_fenced)

    async def begun(self, text: str) -> Draft:
        """A draft whose first words have been told."""
        draft = self.draft()
        draft.add(text)
        await draft.flush()
        return draft

    def _on_fenced(self) -> None:
        self.fenced += 1

    def texts(self, kind: str = stream.MESSAGE) -> list[str]:
        return [delta.text for delta in self.deltas if delta.type == kind]

    def shown(self, kind: str = stream.MESSAGE) -> str:
        """Fold the deltas as a client does: offset 0 replaces, anything else appends where the text ends."""
        text = ""
        for delta in self.deltas:
            if delta.type == kind:
                assert delta.offset in (0, len(text)), f"a gap: {delta.offset} after {len(text)}"
                text = delta.text if delta.offset == 0 else text + delta.text
        return text

    async def until(self, holds: Callable[[], Any], what: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                await asyncio.sleep(0.002)
        assert holds(), what


def kept(redis: Any, draft: Draft) -> str | None:
    text = redis.get(stream.draft_key(draft.run.session_id, draft.message_id, draft.kind))
    return None if text is None else str(text.decode())
