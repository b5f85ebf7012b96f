"""Faults of tools: workers that die between an effect and its record, and while people are asked."""

import shutil
import tempfile
from pathlib import Path

from tests.chaos.lost_calls import LostCalls
from tests.chaos.matrix.scene import Found, Scene, explained, fault, off
from tests.deeds import Deeds

explained(
    27,
    "approval, then crash",
    "a worker dies while a question is open",
    "part of 26, and tests/journeys/test_questions.py",
)


@fault(
    26,
    "tool, then crash",
    "a worker is killed with hundreds of calls between effect and record; the next one while people are asked",
    "what must not happen twice does not: people are asked; what may comes again with its key; each run ends",
    within_s=300,
)
async def tool_then_crash(scene: Scene) -> Found:
    folder = Path(tempfile.mkdtemp(prefix="chaos-deeds-"))
    try:
        deeds = Deeds(folder)
        stack = await off(scene.new_stack(workers=0, env=deeds.env).start)
        deeds.employ(stack)
        async with stack.client(stack.person("ada")) as client:
            calls = LostCalls(stack, deeds, client, max(30, scene.hits // 4))
            await calls.lose()
            await calls.recover()
            await calls.answer()
    finally:
        shutil.rmtree(folder)
    return Found(calls.count, note=f"{calls.launched} calls were asked about, none happened unasked a second time")
