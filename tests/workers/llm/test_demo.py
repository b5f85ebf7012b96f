"""The demo model: exact when told a number of tokens, pleasant when not."""

import asyncio
import time

import pytest

from tests.processes import PATIENCE
from tests.workers.scripted import asking, read, read_text
from workers.llm import open_llm
from workers.llm.base import LLM, SUMMARY_HEADING, Limits, Prompt, Said, Spent, Stopped, Text
from workers.modes.summary import summarise

FAST = "demo?tokens_per_s=0&first_token_ms=0"
MOVED = "The payments database moved to pg-7 on Tuesday at 14:30."


def demo(name: str = FAST) -> LLM:
    return open_llm(name, Limits())


async def test_a_number_of_tokens_gives_exactly_that_many_each_its_own() -> None:
    pieces = await read(demo("demo?tokens=200&tokens_per_s=0&first_token_ms=0"), asking("go"))
    assert pieces[-1] == Spent(input_tokens=1, output_tokens=200)
    assert pieces[-2] == Stopped("end")
    assert all(isinstance(piece, Text) for piece in pieces[:-2])
    text = "".join(piece.text for piece in pieces[:-1] if isinstance(piece, Text))
    assert len(pieces) == 202
    assert text.split() == [f"w{number}" for number in range(1, 201)]


async def test_the_pace_is_kept_to_the_end_even_when_the_reader_is_slow_now_and_then() -> None:
    began = time.monotonic()
    at: list[float] = []
    async for _ in demo("demo?tokens=51&tokens_per_s=100&first_token_ms=100").stream(asking("go")):
        at.append(time.monotonic() - began)
        if len(at) in (10, 20):
            await asyncio.sleep(0.06)
    assert 0.1 <= at[0] < 0.18 * PATIENCE
    assert 0.6 <= at[50] < 0.7 * PATIENCE, "a sleep a token would have added the reader's pauses"


async def test_full_speed_still_lets_the_loops_other_work_run() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(tick())
    await read(demo("demo?tokens=3200&tokens_per_s=0&first_token_ms=0"), asking("go"))
    other.cancel()
    assert ticks >= 100


async def test_chat_comes_word_by_word_at_a_pleasant_pace() -> None:
    began = time.monotonic()
    first_at, words = 0.0, 0
    async for piece in demo("demo").stream(asking("Hi!")):
        if isinstance(piece, Text):
            first_at = first_at or time.monotonic() - began
            words += 1
    took_s = time.monotonic() - began
    assert 0.15 <= first_at < 0.3 * PATIENCE
    assert 25 / PATIENCE < (words - 1) / (took_s - first_at) <= 42


@pytest.mark.parametrize(
    "name",
    [
        "demo?",
        "demo:tokens=5",
        "demo?tokens",
        "demo?tokens=",
        "demo?tokens=0",
        "demo?tokens=-5",
        "demo?tokens=2.5",
        "demo?tokens=5&tokens=6",
        "demo?tokens=1000001",
        "demo?tokens_per_s=nan",
        "demo?tokens_per_s=inf",
        "demo?tokens_per_s=1e9",
        "demo?first_token_ms=soon",
        "demo?token=5",
    ],
)
def test_an_option_that_is_not_understood_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"demo"):
        demo(name)


async def test_the_same_question_gets_the_same_answer() -> None:
    prompt = asking("When did the database move?", MOVED, "Ada decided it.", "The database is big.")
    assert await read(demo(), prompt) == await read(demo(), prompt)


@pytest.mark.parametrize(
    ("question", "quote"),
    [
        ("@AI when did the database move?", MOVED),
        ("Who decided it?", "Ada decided that, because pg-3 ran out of disk."),
        ("what is Ben's pager number", "His pager number is 555-0199."),
        ("Tell me about disks", "Ada decided that, because pg-3 ran out of disk."),
        ("Anything on INC-4242?", "INC-4242 is closed."),
        ("What's my name?", "My name is Carol"),
    ],
)
async def test_a_question_is_answered_with_the_sentence_that_bears_on_it(question: str, quote: str) -> None:
    said = (
        f"{MOVED} Ada decided that, because pg-3 ran out of disk.",
        "- Ben is on call this week.\n- His pager number is 555-0199.",
        "INC-4242 is closed.",
        "My name is Carol",
    )
    answer = await read_text(demo(), asking(question, *said))
    quotes = [line[2:] for line in answer.splitlines() if line.startswith("> ")]
    assert quotes == [quote]
    assert "offline demo model" in answer
    assert "`CHAT_LLM=openai:MODEL`" in answer


async def test_a_correction_is_quoted_after_what_it_corrects() -> None:
    answer = await read_text(
        demo(), asking("And the budget?", "The budget is 1,200 euros.", "No: the budget is 1,500.")
    )
    assert answer.index("1,200") < answer.index("1,500")


async def test_what_was_never_said_is_not_made_up() -> None:
    answer = await read_text(demo(), asking("What is the capital of France?", MOVED))
    assert "found nothing" in answer
    assert ">" not in answer


async def test_its_own_answers_are_not_quoted_back() -> None:
    talk = (Said("user", MOVED), Said("assistant", "The database is fine."), Said("user", "How is the database?"))
    assert "fine" not in await read_text(demo(), Prompt("", talk))


async def test_facts_in_the_summary_of_the_earlier_talk_are_found_and_instructions_are_not() -> None:
    instructions = (
        f"The database of jokes is closed.\n\n{SUMMARY_HEADING}\n- {MOVED}\n- Ada decided.\n\nThe database ends."
    )
    answer = await read_text(demo(), asking("Where is the database?", instructions=instructions))
    assert MOVED in answer
    assert "jokes" not in answer
    assert "ends" not in answer


@pytest.mark.parametrize("greeting", ["Hi", "hello!", "Good morning everyone", "Hallo", "hello?"])
async def test_a_greeting_is_greeted(greeting: str) -> None:
    assert (await read_text(demo(), asking(greeting, MOVED))).startswith("Hello!")


async def test_a_statement_is_noted_with_what_it_goes_with() -> None:
    answer = await read_text(demo(), asking("The pg-7 database is slow.", MOVED))
    assert answer.startswith("Noted:\n\n> The pg-7 database is slow.")
    assert f"> {MOVED}" in answer


async def test_a_person_can_ask_for_a_summary() -> None:
    answer = await read_text(demo(), asking("Summarise this please", "Hi!", MOVED, "Who did that?", "Ada did that."))
    assert [line for line in answer.splitlines() if line.startswith("- ")] == [f"- {MOVED}", "- Ada did that."]


@pytest.mark.parametrize("text", ["", "   ", "???", "@AI", "🔥", "<talk>", "\n\n", "x" * 10_000, "> " * 500])
async def test_no_message_is_too_odd_for_an_answer(text: str) -> None:
    assert "offline demo model" in await read_text(demo(), asking(text, text))


async def test_a_summary_keeps_facts_through_many_rounds_of_chatter() -> None:
    summary = ""
    for number in range(20):
        talk = [Said("user", f"Round {number}, line {line}: the weather is still nice.") for line in range(20)]
        if number == 2:
            talk[7] = Said("user", "Hi all. Remember: the code word is amaranth-77. Is that fine?")
            talk[8] = Said("assistant", "Noted:\n\n> Model 5 is what I am.")
            talk[9] = Said("user", "we keep the keys in the green box")
        summary = await summarise(demo("demo?tokens=5"), summary, talk)
    assert "- Remember: the code word is amaranth-77." in summary.splitlines()
    assert "- we keep the keys in the green box" in summary.splitlines(), "rare, if less weighty than the chatter"
    assert "Is that fine?" not in summary
    assert "Model 5" not in summary
    assert len(summary) <= 4000


async def test_a_summary_is_not_paced() -> None:
    began = time.monotonic()
    await summarise(demo("demo?tokens_per_s=1&first_token_ms=5000"), "", [Said("user", MOVED)])
    assert time.monotonic() - began < 0.5 * PATIENCE
