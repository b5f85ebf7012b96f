"""What the wire says of steps and of calls of tools, folded: part of the fold, and like it of the contract alone."""

from collections.abc import Callable
from typing import Any

Row = dict[str, Any]

STEP_KEYS = {"step_id", "name", "index", "status", "data"}
CALL_KEYS = {"tool_call_id", "tool", "args", "status"}
OVER = {"returned", "failed", "refused", "skipped", "unknown", "cancelled"}


class Calls:
    """The steps and calls of one session's runs."""

    def __init__(self) -> None:
        self.steps: dict[str, Row] = {}
        self.calls: dict[str, Row] = {}
        self.called: dict[str, int] = {}  # how often each call was begun
        self._over: set[str] = set()  # calls that returned, however
        self._runs: dict[str, str] = {}  # whose each of both is

    def step(self, verb: str, data: Row, run_id: str, status: str | None, need: Callable[[bool, str], None]) -> None:
        """Take a step.* event of a run that has a status (None: nobody knows)."""
        need(data.keys() >= STEP_KEYS, f"a step without {sorted(STEP_KEYS - data.keys())}")
        known = self.steps.get(data["step_id"])
        if verb == "started":
            need(known is None, "a step was started twice")
            need(status in ("running", None), f"a step of a run that is {status}")
            mine = [step for key, step in self.steps.items() if self._runs[key] == run_id]
            need(all(step["status"] != "running" for step in mine), "a step was started before the last one finished")
            need(not mine or data["index"] == mine[-1]["index"] + 1, "steps are counted")
            need(data["status"] == "running", f"a step was started as {data['status']}")
        else:
            need(verb == "finished", f"step.{verb} is unknown")
            need(known is None or known["status"] == "running", "a step was finished twice")
            need(known is None or known["index"] == data["index"], "a step has another index")
            need(data["status"] != "running", "a finished step still runs")
            need(not self._open(run_id), f"a step was finished before its calls: {self._open(run_id)}")
        self.steps[data["step_id"]] = data
        self._runs[data["step_id"]] = run_id

    def tool(self, verb: str, data: Row, run_id: str, status: str | None, need: Callable[[bool, str], None]) -> None:
        """Take a tool.* event likewise."""
        need(data.keys() >= CALL_KEYS, f"a call without {sorted(CALL_KEYS - data.keys())}")
        key = data["tool_call_id"]
        before = self.calls.get(key)
        need(key not in self._over, "a call that was over came back")
        need(before is None or before["tool"] == data["tool"], "a call is of another tool")
        if verb == "called":
            need(status in ("running", None), f"a call of a run that is {status}")
            need(data["status"] == "called", f"it was called as {data['status']}")
            self.called[key] = self.called.get(key, 0) + 1
        else:
            need(verb == "returned", f"tool.{verb} is unknown")
            need(data["status"] in OVER, f"it returned as {data['status']}")
            need(data["status"] != "returned" or "result" in data, "it returned without a result")
            need(data["status"] == "returned" or "error" in data or data["status"] in ("unknown", "cancelled"), "why?")
            self._over.add(key)
        self.calls[key] = data
        self._runs[key] = run_id

    def message(self, row: Row, run_id: str | None, need: Callable[[bool, str], None]) -> None:
        """Take a message that shows a call: what the events then tell of the call must be what it shows."""
        shown = row["data"].get("tool_call")
        if shown is None or run_id is None:
            return
        need(shown["tool_call_id"] == row["message_id"], "the message of a call has another id")
        need(row["role"] == "tool", f"a call is shown by a message of role {row['role']}")
        over = row["message_id"] in self._over
        need(not over or self.calls[row["message_id"]] == shown, "a call that was over was changed")
        self.calls[row["message_id"]] = shown
        self._runs[row["message_id"]] = run_id

    def agrees(self, message: Row | None, data: Row, need: Callable[[bool, str], None]) -> None:
        """Compare an event with the message that shows its call."""
        if message is not None:
            shown = message["data"]["tool_call"]
            need(shown == data, f"the message shows {shown}")

    def pause(self, run_id: str, verb: str, need: Callable[[bool, str], None]) -> None:
        """Take the event by which a run ends, or lets go to wait for people."""
        open_calls = self._open(run_id)
        if verb == "interrupted":
            need(all(call["status"] != "called" for call in open_calls), "a run asks people while a tool is at work")
        else:
            need(not open_calls, f"a run ended with open calls: {open_calls}")
            open_steps = [one for key, one in self.steps.items() if self._runs[key] == run_id]
            need(all(one["status"] != "running" for one in open_steps), "a run ended within a step")

    def _open(self, run_id: str) -> list[Row]:
        return [call for key, call in self.calls.items() if self._runs[key] == run_id and key not in self._over]
