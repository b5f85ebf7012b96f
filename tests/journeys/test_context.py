"""What the LLM is sent: the newest messages within the budget, and through the summary what was said long before."""

from tests.conftest import LONG, NewStack
from tests.stack import Stack
from tests.wire import Person

FACT = "The vault of the north depot opens with Kestrel-7143."
BUDGET = 600


async def test_a_fact_from_sixty_messages_ago_and_one_from_the_newest_reach_the_llm(new_stack: NewStack) -> None:
    env = {"CHAT_LLM": "openai:summary-aware", "CHAT_CONTEXT_TOKENS": str(BUDGET)}
    stack = new_stack(llm=True, env=env)
    async with stack.client(stack.person("ada")) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        await client.answered(session_id, await client.say(session_id, FACT))
        for number in range(30):
            content = f"Pallet {number} holds {number * 7} crates of tea, and its driver is called Number{number}."
            await client.answered(session_id, await client.say(session_id, content))
        await client.answered(session_id, await client.say(session_id, "The gate is painted Vermilion-22 today."))
        await client.answered(
            session_id, await client.say(session_id, "What opens the vault, and what colour is the gate?")
        )
        await client.agrees()

        asked = [
            one["messages"] for one in stack.llm_saw("request") if "what colour" in one["messages"][-1]["content"]
        ][-1]
        text = "\n".join(str(message["content"]) for message in asked)
        assert "Vermilion-22" in "\n".join(message["content"] for message in asked if message["role"] == "user")
        assert "Kestrel-7143" in text, text
        talk = [message for message in asked if message["role"] != "system"]
        assert len(talk) < 62 and all("Kestrel" not in message["content"] for message in talk), "not by the summary"
        assert len(text) / 4 < BUDGET * 2, "the prompt is far over the budget"


async def test_failed_and_stopped_answers_are_left_out(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        await client.ended(session_id, await client.say(session_id, "This fails", llm="openai:quota"))
        stopped = await client.say(session_id, "This is stopped", llm=LONG)
        await client.shown(session_id, stopped, characters=20)
        await client.command("run.cancel", run_id=stopped)
        await client.answered(session_id, await client.say(session_id, f"Asked in {session_id}", llm="openai:echo"))
        [sent] = [one["messages"] for one in stack.llm_saw("request") if session_id in one["messages"][-1]["content"]]
        assert all(message["role"] != "assistant" for message in sent), sent
        assert "w1 w2" not in str(sent) and "no money" not in str(sent)
        await client.agrees()
