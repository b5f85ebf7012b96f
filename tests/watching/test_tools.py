"""What an operator sees of a call of a tool: a number, and a span of its run's trace."""

from tests.deeds import AGENT
from tests.processes import eventually
from tests.stack import Stack
from tests.watching.collector import Collector, Span
from tests.watching.test_metrics import worker


async def test_a_call_is_counted_timed_and_traced_without_a_word_of_it(stack: Stack, collector: Collector) -> None:
    before = worker(stack)
    async with stack.client(stack.person("ada")) as ada:
        session_id = await ada.new_session()
        fold = await ada.subscribe(session_id)
        for what in ("repeat", "choke"):
            run_id = await ada.say(session_id, f'Please {what} "canary-in-a-call"', agent=AGENT)
            await ada.ended(session_id, run_id)
        assert len(fold.calls.calls) == 2
    after = worker(stack)
    for name in ("{status=returned,tool=repeat}", "{status=failed,tool=choke}"):
        assert after[f"chat_tool_calls_total{name}"] - before.get(f"chat_tool_calls_total{name}", 0) == 1
    assert (
        after["chat_tool_call_seconds_count{tool=repeat}"] - before.get("chat_tool_call_seconds_count{tool=repeat}", 0)
        == 1
    )

    def traced() -> dict[str, Span]:
        spans = collector.spans()
        runs = [one for one in spans if one.name == "run" and run_id in one.attributes.get("run_id", "")]
        return {one.name: one for one in spans if runs and one.trace_id == runs[0].trace_id}

    wanted = {"run", "tool", "begin_step", "record_calls", "finish_run"}
    spans = eventually(lambda: wanted <= set(found := traced()) and found, "the spans arrive")
    assert spans["tool"].parent_id == spans["run"].span_id
    assert "choke" in spans["tool"].attributes["tool"] and "error.type" in spans["tool"].attributes
    assert all("canary" not in span.raw for span in collector.spans())
