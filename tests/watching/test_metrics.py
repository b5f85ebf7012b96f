"""The numbers of a web process and a worker after some talk, as Prometheus reads them."""

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.processes import eventually
from tests.stack import Stack
from tests.watching.conftest import METRICS_TOKEN

Numbers = dict[str, float]


def read(url: str, token: str = "") -> Numbers:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx2.get(url, headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()) if name != "le")
            if "le" not in sample.labels:
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def web(stack: Stack) -> Numbers:
    return read(f"{stack.webs[0].url}/metrics", METRICS_TOKEN)


def worker(stack: Stack) -> Numbers:
    return read(f"http://127.0.0.1:{stack.env['CHAT_METRICS_PORT']}/metrics")


@pytest.fixture
async def talked(stack: Stack) -> tuple[Numbers, Numbers]:
    """The numbers of both, after two answers and a failure, with one socket still open; less what was before."""
    before = web(stack), worker(stack)
    person = stack.person("ada")
    async with stack.client(person) as ada:
        session_id = await ada.new_session()
        await ada.subscribe(session_id)
        for number in range(2):
            await ada.answered(session_id, await ada.say(session_id, f"hello {number}", llm="openai:echo"))
        await ada.ended(session_id, await ada.say(session_id, "fail", llm="openai:500"))
        with pytest.raises(Exception, match="not_found"):
            await ada.command("run.cancel", run_id=session_id)
        # The third run's claim and end are counted when their transaction is over, a moment after they are told.
        eventually(lambda: worker(stack).get("chat_runs_total{code=llm_unavailable,outcome=failed}", 0) > 0, "counted")
        after = web(stack), worker(stack)
    gauges = {"chat_sockets", "chat_hubs", "chat_viewers", "chat_workers", "chat_runs_queued", "chat_lease_age_seconds"}
    return tuple(
        {name: value - (0 if name in gauges else was.get(name, 0)) for name, value in now.items()}
        for was, now in zip(before, after, strict=True)
    )  # type: ignore[return-value]


async def test_web_counts_its_doors_sockets_and_deliveries(talked: tuple[Numbers, Numbers]) -> None:
    numbers, _ = talked
    assert numbers["chat_sockets"] == numbers["chat_hubs"] == numbers["chat_viewers"] == 1
    assert numbers["chat_sockets_opened_total"] == 1
    assert numbers["chat_command_seconds_count{type=message.send}"] == 3
    assert numbers["chat_message_display_seconds_count"] == 2
    assert numbers["chat_api_response_seconds_count{door=sessions.Sessions,method=POST,status=2xx}"] == 1
    assert numbers["chat_errors_total{code=not_found,surface=socket}"] == 1
    assert numbers["chat_sessions_total"] == 1
    assert numbers["chat_events_total{type=run.queued}"] == 3
    assert numbers["chat_deltas_delivered_total"] >= 2
    assert numbers["chat_workers"] == 1 and numbers["chat_runs_queued"] == 0
    assert numbers["chat_ready{check=database}"] == 0  # it was 1 before, and is
    assert "chat_loop_lag_seconds" in numbers and "chat_lease_age_seconds" not in numbers


async def test_what_the_rules_count_is_there_before_it_happens(stack: Stack) -> None:
    """To Prometheus, a counter that appears at 12 has not risen."""
    closed = {f"chat_sockets_closed_total{{code={code}}}" for code in (4408, 4429)}
    swept = {f"chat_swept_total{{what={what}}}" for what in ("lost", "stuck", "waiting")}
    swept |= {f"chat_sweeps_total{{result=failed,what={what}}}" for what in ("sweep", "tidying")}
    assert closed <= set(web(stack)) and swept <= set(worker(stack))
    assert not swept & set(web(stack)) and not closed & set(worker(stack))


async def test_a_worker_counts_runs_calls_and_deltas(talked: tuple[Numbers, Numbers]) -> None:
    _, numbers = talked
    assert numbers["chat_runs_total{code=,outcome=succeeded}"] == 2
    assert numbers["chat_runs_total{code=llm_unavailable,outcome=failed}"] == 1
    assert numbers["chat_answer_seconds_count{outcome=succeeded}"] == 2
    assert numbers["chat_run_wait_seconds_count"] == 3
    assert numbers["chat_first_token_seconds_count"] == 2
    assert numbers["chat_llm_calls_total{llm=openai:echo}"] == 2
    assert numbers["chat_llm_first_byte_seconds_count{llm=openai:echo}"] == 2
    assert numbers["chat_llm_failures_total{code=llm_unavailable,llm=openai:500}"] == 2  # it is tried twice
    assert numbers["chat_llm_tokens_total{kind=output,llm=openai:echo}"] == 4
    assert numbers["chat_deltas_published_total"] >= 2
    assert numbers["chat_lease_age_seconds"] < 5
    assert numbers["chat_sweeps_total{result=done,what=sweep}"] >= 0
    assert "chat_workers" not in numbers


def test_without_the_token_there_is_no_such_page_for_others(stack: Stack) -> None:
    url = f"{stack.webs[0].url}/metrics"
    assert httpx2.get(url, trust_env=False).status_code == 200  # the machine's own, in local mode
    for headers in ({"Authorization": "Bearer wrong"}, {"X-Forwarded-For": "10.0.0.1"}):
        refused = httpx2.get(url, headers=headers, trust_env=False)
        assert refused.status_code == 404 and refused.json()["error"]["code"] == "not_found"
