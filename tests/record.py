"""Records what a client receives from a real server, for the folds of the tests and of the page to be held to.

`python -m tests.record [NAME …]` writes `tests/recordings/NAME.jsonl`, every frame in the order in which it came, and
beside it `NAME.json`: the state before (`snapshot`, null: from the first event), after (`state`, as the server showed
it), the lines before which a new socket was opened (`resumed`), and the drafts that were `shown` after some lines.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.deeds import Deeds
from tests.fold import Fold, Frame, Row
from tests.stack import Stack, Workshop
from tests.wire import Client

FOLDER = Path(__file__).parent / "recordings"
SWIFT, STEADY = "demo?tokens=5&tokens_per_s=0", "demo?tokens=40&tokens_per_s=20"
OFFERED = ["demo", SWIFT, STEADY, *(f"openai:{model}" for model in ("echo", "reasoning", "quota"))]
AWKWARD = "Gr\u00fc\u00dfe 😀 from a 👩\u200d🚀 in **bold** 漢字 e\u0301 end"


@dataclass
class Take:
    """One recording under way: a session, and a client that follows it."""

    stack: Stack
    deeds: Deeds
    client: Client
    session_id: str
    snapshot: Row | None = None
    resumed: list[int] = field(default_factory=list)

    async def answered(self, content: str, llm: str) -> str:
        run_id = await self.client.say(self.session_id, content, llm=llm)
        await self.client.ended(self.session_id, run_id)
        return run_id

    def frames(self) -> list[Frame]:
        return [frame for _, frame in self.client.received]


Scene = Callable[[Take], Awaitable[None]]
SCENES: dict[str, Scene] = {}


def scene(play: Scene) -> Scene:
    SCENES[play.__name__] = play
    return play


@scene
async def answered(take: Take) -> None:
    await take.answered(AWKWARD, "openai:echo")
    await take.answered("Again", SWIFT)


@scene
async def reasoned(take: Take) -> None:
    await take.answered("Think first", "openai:reasoning")


@scene
async def stopped(take: Take) -> None:
    run_id = await take.client.say(take.session_id, "Count", llm=STEADY)
    await take.client.shown(take.session_id, run_id, characters=20)
    await take.client.command("run.cancel", run_id=run_id)
    await take.client.ended(take.session_id, run_id)


@scene
async def restarted(take: Take) -> None:
    run_id = await take.client.say(take.session_id, "Count", llm=STEADY)
    await take.client.shown(take.session_id, run_id, characters=20)
    take.stack.workers[0].kill()
    take.stack.add_worker()
    await take.client.answered(take.session_id, run_id, within_s=60)


@scene
async def failed(take: Take) -> None:
    run_id = await take.answered("Hello", "openai:quota")
    again = await take.client.command("run.retry", run_id=run_id)
    await take.client.ended(take.session_id, again["run_id"])
    await take.answered("And now?", SWIFT)


@scene
async def queued(take: Take) -> None:
    client, session_id = take.client, take.session_id
    first = await client.say(session_id, "First", llm=STEADY)
    waiting = [await client.say(session_id, text, llm=SWIFT) for text in ("Second", "Third", "Fourth")]
    fold = client.folds[session_id]
    await client.until(lambda: all(run_id in fold.runs for run_id in waiting), "all wait")
    [second] = [row for row in fold.messages.values() if row["content"] == "Second"]
    await client.command("message.update", message_id=second["message_id"], content="Second, said better")
    await client.command("run.move", run_id=waiting[2], before=waiting[0])
    await client.command("run.cancel", run_id=waiting[1])
    await client.ended(session_id, first, *waiting)


@scene
async def changed(take: Take) -> None:
    client, path = take.client, f"/api/sessions/{take.session_id}/"
    await client.call("PATCH", path, {"title": "Renamed 改名", "metadata": {"pinned": True}})
    ben = take.stack.person("ben")
    await client.post(f"{path}members/", {"username": ben.username, "role": "viewer"})
    await client.call("DELETE", f"{path}members/{ben.user_id}/")
    await take.answered("Hello", SWIFT)
    await client.post(f"{path}close/")
    await client.post(f"{path}reopen/")
    await client.call("PATCH", path, {"status": "completed"})


@scene
async def resumed(take: Take) -> None:
    client, session_id = take.client, take.session_id
    run_id = await client.say(session_id, "Count", llm=STEADY)
    await client.shown(session_id, run_id, characters=20)
    await client.drop()
    take.resumed.append(len(take.frames()))
    await client.connect()
    await client.ended(session_id, run_id)


@scene
async def opened_late(take: Take) -> None:
    client, session_id = take.client, take.session_id
    for number in range(28):
        await take.answered(f"Question {number}", SWIFT)
    run_id = await client.say(session_id, "Count", llm=STEADY)
    await client.shown(session_id, run_id, characters=20)
    # What the first subscription still sends is not this one's.
    await client.command("session.unsubscribe", session_id=session_id)
    client.folds.pop(session_id)
    client.received.clear()
    take.snapshot = await client.get(f"/api/sessions/{session_id}/")
    await client.open_page(session_id)
    await client.ended(session_id, run_id)
    await take.answered("The last", SWIFT)


@scene
async def questioned(take: Take) -> None:
    """Tools, what a person allows them and refuses them, and what an agent asks."""
    client, session_id = take.client, take.session_id
    name = take.deeds.employ(take.stack, name="doer", tools=["refund", "peek", "ask_human"])
    await client.call("PATCH", f"/api/sessions/{session_id}/", {"agent": name})
    fold = client.folds[session_id]
    answers: list[tuple[str, Row]] = [
        ("Please peek at 5", {}),
        ("Please refund 7", {"approved": True, "args": {"number": 8}}),
        ("Please refund 9", {"approved": False, "reason": "Too much"}),
        ('Please ask human "Which one?"', {"text": "The second"}),
    ]
    for content, answer in answers:
        run_id = await client.say(session_id, content)
        if answer:
            await client.until(lambda: fold.state()["interrupts"], "it asks")
            [question] = fold.state()["interrupts"]
            await client.command("interrupt.resolve", interrupt_id=question["interrupt_id"], answer=answer)
        await client.ended(session_id, run_id)


async def play(stack: Stack, deeds: Deeds, name: str) -> None:
    """Play one scene and write down what came of it."""
    async with stack.client(stack.person("ada")) as client:
        take = Take(stack, deeds, client, await client.new_session())
        await client.subscribe(take.session_id)
        await SCENES[name](take)
        await client.agrees(take.session_id)
        frames = take.frames()
        expected: Row = {"session_id": take.session_id, "snapshot": take.snapshot, "resumed": take.resumed}
        # The drafts after each event, and after every third frame: enough to tell a wrong offset by.
        expected["shown"] = {
            str(line): drafts_of(fold)
            for line, fold in replay(frames, expected)
            if line % 3 == 0 or frames[line]["seq"] is not None
        }
        expected["state"] = await client.get(f"/api/sessions/{take.session_id}/")
    lines = (json.dumps(frame, ensure_ascii=False, separators=(",", ":")) + "\n" for frame in frames)
    (FOLDER / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    (FOLDER / f"{name}.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def replay(frames: list[Frame], recording: Row) -> Iterator[tuple[int, Fold]]:
    """Fold a recording, and give the fold after each line that is of its session."""
    fold = Fold(recording["session_id"], snapshot=recording["snapshot"])
    for line, frame in enumerate(frames):
        if line in recording["resumed"]:
            fold.resume()
        if frame["session_id"] == recording["session_id"] and frame["type"] != "typing":
            fold.feed(frame)
            yield line, fold


def drafts_of(fold: Fold) -> dict[str, str]:
    return {message_id: draft.text for (noun, message_id), draft in fold.drafts.items() if noun == "message"}


async def record(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    workshop = Workshop()
    deeds = Deeds(workshop.folder)
    try:
        for name in names:
            with Stack(workshop, llm=True, env={"CHAT_LLMS": ",".join(OFFERED)} | deeds.env) as stack:
                await play(stack.start(), deeds, name)
                print(name)
    finally:
        workshop.end()


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(SCENES)))
