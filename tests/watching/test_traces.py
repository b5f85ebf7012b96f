"""A message's trace, from the door through the row to the worker and its language model, as a collector receives it."""

from tests.processes import eventually
from tests.stack import Stack
from tests.watching.collector import Collector, Span

CONTENT = "canary-in-a-trace-4c4c"


def _of_run(collector: Collector, run_id: str) -> dict[str, Span]:
    """The spans of the trace that a run belongs to, by name, once the run's own is there."""
    spans = collector.spans()
    mine = [one for one in spans if one.name == "run" and run_id in one.attributes.get("run_id", "")]
    return {one.name: one for one in spans if one.trace_id == mine[0].trace_id} if mine else {}


async def _trace(stack: Stack, collector: Collector, door: str) -> dict[str, Span]:
    person = stack.person("ada")
    async with stack.client(person) as ada:
        session_id = await ada.new_session(title=CONTENT)
        await ada.subscribe(session_id)
        if door == "http":
            said = await ada.post(f"/api/sessions/{session_id}/messages/", {"content": CONTENT, "llm": "openai:echo"})
            run_id = said["run_id"]
        else:
            run_id = await ada.say(session_id, CONTENT, llm="openai:echo")
        await ada.answered(session_id, run_id)
    wanted = {"post_message", "queued", "run", "context", "llm", "finish_run"}
    eventually(lambda: wanted <= set(_of_run(collector, run_id)), f"the spans arrive: {wanted}")
    return eventually(
        lambda: len(found := _of_run(collector, run_id)) > len(wanted) and found, "the door's span arrives"
    )


def _check(spans: dict[str, Span], door: str) -> None:
    root = spans[door]
    parents = {
        "post_message": root,
        "queued": spans["run"],
        "run": spans["post_message"],
        "context": spans["run"],
        "llm": spans["run"],
        "finish_run": spans["run"],
    }
    assert not root.parent_id
    for name, parent in parents.items():
        assert spans[name].parent_id == parent.span_id, f"{name} is a part of {parent.name}"
    for name in ("post_message", door):
        assert spans[name].service == "chat-web"
    for name in ("run", "queued", "context", "llm", "finish_run"):
        assert spans[name].service == "chat-worker"


async def test_a_command_of_a_socket_leads_to_the_workers_spans(stack: Stack, collector: Collector) -> None:
    _check(await _trace(stack, collector, "socket"), "message.send")


async def test_a_request_over_http_leads_to_them_too(stack: Stack, collector: Collector) -> None:
    spans = await _trace(stack, collector, "http")
    [door] = [name for name in spans if name.startswith("POST")]
    _check(spans, door)


def test_no_span_holds_what_anybody_wrote(stack: Stack, collector: Collector) -> None:
    """Of the tests before: the server is the same one."""
    spans = collector.spans()
    assert spans
    for span in spans:
        assert CONTENT not in span.raw and "canary" not in span.raw, span.raw
