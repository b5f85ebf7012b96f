"""What goes wrong at the LLM: retried once where it may pass, told with a code where not, and never with a secret."""

import asyncio

from tests.conftest import SWIFT
from tests.fold import Row
from tests.stack import Stack
from tests.wire import Client, Person


async def outcome(client: Client, model: str, content: str = "Hello") -> tuple[str, Row]:
    session_id = await client.new_session()
    await client.subscribe(session_id)
    run_id = await client.say(session_id, content, llm=f"openai:{model}")
    [run] = await client.ended(session_id, run_id)
    return session_id, run


async def test_what_is_temporary_is_tried_once_more(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        models = ("429-once", "cut-once-after-5")
        ended = await asyncio.gather(*(outcome(client, model, f"Hello {model}") for model in models))
        assert [run["status"] for _, run in ended] == ["succeeded", "succeeded"]
        said = [client.folds[session_id].answers() for session_id, _ in ended]
        assert [[row["content"].split() for row in rows] for rows in said] == [
            [["Hello", "429-once"]],
            [["t1", "t2", "t3", "t4", "t5"]],
        ]
        await client.agrees()


async def test_each_failure_is_told_with_its_code_and_without_a_secret(stack: Stack, ada: Person) -> None:
    codes = {
        "500": "llm_unavailable",
        "cut-after-5": "llm_unavailable",
        "never-first-token": "llm_timeout",
        "stall-after-5": "llm_timeout",
        "empty": "llm_empty",
        "quota": "llm_rejected",
    }
    async with stack.client(ada) as client:
        ended = await asyncio.gather(*(outcome(client, model) for model in codes))
        assert {
            model: run["error"] and run["error"]["code"] for model, (_, run) in zip(codes, ended, strict=True)
        } == codes
        for session_id, run in ended:
            assert run["status"] == "failed" and run["failed_at"]
            fold = client.folds[session_id]
            told = [row for row in fold.messages.values() if row["kind"] == "error"]
            assert [(row["role"], row["run_id"]) for row in told] == [("system", run["run_id"])]
            assert run["error"].keys() >= {"code", "message", "temporary"}
            assert fold.session["status"] == "waiting"
        frames = str(client.received)
        assert "sk-123" not in frames and "10.0.0.1" not in frames and "127.0.0.1" not in frames
        await client.agrees()


async def test_a_failed_answer_can_be_asked_for_again_and_the_session_goes_on(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id, run = await outcome(client, "quota")
        again = await client.post(f"/api/runs/{run['run_id']}/retry/")
        [second] = await client.ended(session_id, again["run_id"])
        assert second["error"]["code"] == "llm_rejected"
        await client.answered(session_id, await client.say(session_id, "And now?", llm=SWIFT))
        await client.agrees()


async def test_text_that_a_database_would_refuse_arrives_without_it(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id, run = await outcome(client, "nul", "a\0b and half a pair \ud83d.")
        assert run["status"] == "succeeded"
        [answer] = client.folds[session_id].answers()
        assert answer["content"] == "abc"
        [asked, _] = client.folds[session_id].messages.values()
        assert "\0" not in asked["content"] and asked["content"].startswith("ab and half")
        await client.agrees()


async def test_what_a_broken_llm_had_shown_is_void_for_all_who_watch_and_the_next_one_answers(
    stack: Stack, ada: Person
) -> None:
    """One watches from the start, one comes while the first try is shown, one while nothing is."""
    names = {"llm": "openai:cut-after-5", "fallbacks": ["openai:cut-after-5", "openai:500", "openai:echo"]}
    stack.ask("Agent.objects.update_or_create(name='careful', defaults=names)[0].name", names=names)
    async with stack.client(ada) as first, stack.client(ada) as second, stack.client(ada) as third:
        session_id = await first.new_session()
        await first.subscribe(session_id)
        run_id = await first.say(session_id, "Said by the last of them", agent="careful")
        await first.shown(session_id, run_id)
        await second.subscribe(session_id)
        await first.until(lambda: not first.folds[session_id].draft(run_id), "what was shown is void")
        await third.open_page(session_id)
        for client in (first, second, third):
            [run] = await client.ended(session_id, run_id)
            assert (run["status"], run["fallback_status"], run["llm"]) == ("succeeded", "recovery", "openai:echo")
            assert client.folds[session_id].answers()[-1]["content"] == "Said by the last of them"
            await client.agrees()
        row = await first.get(f"/api/runs/{run_id}/")
        rows = stack.ask("list(Usage.objects.filter(run_id=run_id).values_list('llm', 'output_tokens'))", run_id=run_id)
        assert sorted(llm for llm, _ in rows) == ["openai:500", "openai:cut-after-5", "openai:echo"]
        assert row["usage"]["output_tokens"] == sum(tokens for _, tokens in rows)
