"""On a terminal: what was said scrolls above, what is being written and the input line stay below."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from prompt_toolkit.application import Application, get_app
from prompt_toolkit.application.run_in_terminal import in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import (
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    Window,
)
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import print_formatted_text
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import TextArea

from chat.terminal.calls import Row, how_to_answer, progress_line
from chat.terminal.client import Client
from chat.terminal.commands import obey
from chat.terminal.errors import SignInRefused
from chat.terminal.page import Line, Page, name
from chat.terminal.plain import plain_line
from chat.terminal.state import Talk

STYLE = {
    "me": "bold ansicyan",
    "user": "bold ansiyellow",
    "agent": "bold ansigreen",
    "tool": "ansimagenta",
    "question": "bold ansiyellow",
    "note": "ansibrightblack",
    "error": "ansired",
    "status": "ansibrightblack",
}
REPAINT_S = 0.03
SIGN_INS = 3


class Screen:
    """The page above, the line being written, what waits to be sent, the input and one line of status."""

    def __init__(self, *, color: bool, input: Input | None = None, output: Output | None = None) -> None:
        self.listed: list[Row] = []
        self._client: Client | None = None
        self._page: Page | None = None
        self._said: list[Line] = []  # to be printed before the page goes on
        self._tail: Line = []
        self._dirty = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._problem = ""
        self._meant_for = ""  # the question that was open when the line in the input was begun
        self._has_begun = False
        self._style = Style.from_dict(STYLE if color else {})
        self._depth = None if color else ColorDepth.DEPTH_1_BIT
        self._entry = TextArea(
            prompt=[("class:me", "› ")],
            history=InMemoryHistory(),
            multiline=True,
            wrap_lines=True,
            height=Dimension(min=1, max=8),
            dont_extend_height=True,
            accept_handler=self._accept,
            name=DEFAULT_BUFFER,
        )
        self._entry.buffer.on_text_changed += self._begun
        self._app: Application[int] = Application(
            layout=Layout(self._layout(), focused_element=self._entry),
            key_bindings=self._keys(),
            style=self._style,
            color_depth=self._depth,
            refresh_interval=1.0,  # the seconds in the status line
            input=input,
            output=output,
        )

    # --- the view that the client tells ----------------------------------------------------------------------------

    def changed(self) -> None:
        self._dirty.set()

    def opened(self, talk: Talk) -> None:
        self._page = Page(talk)
        heading = f"  · {name(talk.title, talk.session_id)}  ({talk.session_id})"
        self._said += [[("note", heading)], [], *self._page.start()]
        self.changed()

    def left(self) -> None:
        self._page = None
        self.changed()

    def read_again(self, talk: Talk) -> None:
        if self._page:
            self._page.replace(talk)
        self.tell("too much was missed to be read one by one; this is how things stand now")

    def tell(self, text: str, *, error: bool = False) -> None:
        style, mark = ("error", "!") if error else ("note", "·")
        self.show([[(style, f"  {mark} {plain_line(text)}")], []])

    def show(self, lines: list[Line]) -> None:
        self._said += lines
        self.changed()

    def edit(self, text: str) -> None:
        """Put a text into the input, to be changed and sent."""
        self._entry.text = text
        self._entry.buffer.cursor_position = len(text)

    # --- its life --------------------------------------------------------------------------------------------------

    async def run(self, client: Client) -> int:
        """Stay until the person leaves: 0; 1 where the server takes their sign-in no more."""
        self._client = client
        work = [asyncio.create_task(self._serve(client)), asyncio.create_task(self._paint())]
        for task in work:
            task.add_done_callback(lambda _: self.quit(1))  # neither ends by itself
        try:
            with patch_stdout():  # a warning of some library shall not tear the picture
                code = await self._app.run_async()
        except EOFError:  # the terminal is gone
            code = 0
        finally:
            for task in (*work, *self._tasks):
                task.cancel()
            ends = await asyncio.gather(*work, return_exceptions=True)
        if bugs := [end for end in ends if isinstance(end, Exception)]:
            raise bugs[0]
        self._print([*self._take(), *([self._tail] if self._tail else [])])
        if client.outbox.items:
            self._print([[("error", f"  ! not sent: {len(client.outbox.items)}")]])
        if self._problem:
            self._print([[("error", f"  ! {plain_line(self._problem)}")]])
        return code

    def quit(self, code: int = 0) -> None:
        if self._app.is_running and self._app.future and not self._app.future.done():
            self._app.exit(result=code)

    async def suspended(self, ask: Callable[[], Awaitable[str]]) -> str:
        """Let a question have the whole terminal."""
        async with in_terminal():
            return await ask()

    async def _serve(self, client: Client) -> None:
        for attempt in range(1, SIGN_INS + 1):
            try:
                await client.run()
            except SignInRefused as error:
                if attempt == SIGN_INS:
                    self._problem = str(error)
                else:
                    self.tell(str(error), error=True)

    async def _paint(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if lines := self._take():
                async with in_terminal():
                    self._print(lines)
                    self._tail = self._page.tail if self._page else []
            else:
                self._tail = self._page.tail if self._page else []
                self._app.invalidate()
            await asyncio.sleep(REPAINT_S)

    def _take(self) -> list[Line]:
        said, self._said = self._said, []
        return said + (self._page.take() if self._page else [])

    def _print(self, lines: list[Line]) -> None:
        if lines:
            text = [(f"class:{style}", part) for line in lines for style, part in [*line, ("text", "\n")]]
            print_formatted_text(
                FormattedText(text), end="", style=self._style, color_depth=self._depth, output=self._app.output
            )

    # --- below the page --------------------------------------------------------------------------------------------

    def _layout(self) -> HSplit:
        def part(text: Callable[[], FormattedText]) -> ConditionalContainer:
            window = Window(FormattedTextControl(text), wrap_lines=True, dont_extend_height=True)
            return ConditionalContainer(window, Condition(lambda: bool(text())))

        status = Window(FormattedTextControl(self._status), height=1)
        below = (self._calls, self._waiting, self._asked)
        gap = ConditionalContainer(
            Window(height=1), Condition(lambda: bool(self._tail) or any(text() for text in below))
        )
        return HSplit([part(self._written), gap, *map(part, below), self._entry, status])

    def _written(self) -> FormattedText:
        """The line being written; of one higher than the terminal its end."""
        size = get_app().output.get_size()
        room = max(1, size.rows - 8) * size.columns
        line = self._tail
        length = sum(len(text) for _, text in line)
        if length > room and line:
            style, text = line[-1]
            cut = -(-(length - room) // size.columns) * size.columns  # whole rows, else every word would move
            line = [(style, text[cut:])]
        return FormattedText([(f"class:{style}", text) for style, text in line])

    def _waiting(self) -> FormattedText:
        pending = [(item.text, "waiting") for item in self._page.pending] if self._page else []
        unsent = [(item.content, "not sent yet") for item in self._client.outbox.items] if self._client else []
        rows = [f"› {plain_line(text)[:60]}  ({why})" for text, why in pending + unsent]
        more = [f"  and {len(rows) - 3} more"] if len(rows) > 3 else []
        return FormattedText([("class:note", "\n".join(rows[:3] + more))] if rows else [])

    def _calls(self) -> FormattedText:
        """The tool calls that have come to nothing yet."""
        talk = self._client.talk if self._client else None
        rows = [f"  ⋯ {plain_line(progress_line(call))}" for call in talk.calls.values()] if talk else []
        return FormattedText([("class:tool", "\n".join(rows))] if rows else [])

    def _asked(self) -> FormattedText:
        """How the open question can be answered."""
        question = self._client.question if self._client else None
        return FormattedText([("class:question", f"  ? {how_to_answer(question, on_screen=True)}")] if question else [])

    def _status(self) -> FormattedText:
        if not self._client:
            return FormattedText()
        talk = self._client.talk
        title = name(talk.title, talk.session_id)[:40] if talk else "new session"
        return FormattedText([("class:status", f"  {title} · {status(self._client, time.monotonic())}")])

    # --- keys ------------------------------------------------------------------------------------------------------

    def _begun(self, buffer: Buffer) -> None:
        """Note what a line may be about when its first letter is typed: what is asked later it does not answer."""
        if not self._has_begun:
            question = self._client.question if self._client else None
            self._meant_for = question["interrupt_id"] if question else ""
        self._has_begun = bool(buffer.text)

    def _accept(self, buffer: Buffer) -> bool:
        line = buffer.text.strip()
        if line and self._client:
            task = asyncio.get_running_loop().create_task(obey(line, self._client, self, self._meant_for))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._has_begun = False  # what empties the input tells nobody
        return False  # empty the input

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        @keys.add("c-j")  # Enter too, when it was typed before the program was there to read it
        def send(event: KeyPressEvent) -> None:
            event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter")
        def break_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("c-c")
        @keys.add(Keys.SIGINT)
        def stop(event: KeyPressEvent) -> None:
            if self._client and self._client.stop():
                return
            if event.current_buffer.text:
                event.current_buffer.reset()
                self._has_begun = False
            else:
                self.tell("Ctrl-D leaves")

        @keys.add("c-d", filter=Condition(lambda: not self._entry.text))
        def leave(event: KeyPressEvent) -> None:
            self.quit()

        return keys


def status(client: Client, now: float) -> str:
    """What the client is doing, in a few words."""
    connection, outbox = client.connection, client.outbox
    if not connection.ready.is_set():
        left_s = connection.next_try_at - now
        if not connection.problem:
            return "connecting…"
        return f"{connection.problem}; next try {'now' if left_s < 1 else f'in {left_s:.0f} s'}"
    if outbox.items and outbox.holdup:
        return f"{outbox.holdup}; it is sent again"
    run = client.talk.active_run if client.talk else None
    if run is None:
        return "/help"
    waiting = client.talk.runs_waiting if client.talk else 0
    more = f" · {waiting} waiting" if waiting and run["status"] != "queued" else ""
    doing = {"queued": "waiting for its turn", "running": "answering", "interrupted": "a question is open"}
    return f"{doing[run['status']]}{more} · Ctrl-C stops"
