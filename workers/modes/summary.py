"""The rolling summary: what was said too long ago to fit the context, in a few lines that keep the facts."""

from collections.abc import Sequence
from contextlib import aclosing

from workers.llm.base import LLM, SUMMARY_INSTRUCTIONS, Prompt, Said, Text, Void, empty_answer


async def summarise(llm: LLM, previous: str, talk: Sequence[Said]) -> str:
    """Return one summary of the previous summary and of the talk since. Raises: LLMError."""
    text: list[str] = []
    async with aclosing(llm.stream(summary_prompt(previous, talk))) as pieces:
        async for piece in pieces:
            if isinstance(piece, Text):
                text.append(piece.text)
            elif isinstance(piece, Void):
                text = []
    summary = "".join(text).strip()
    if not summary:
        raise empty_answer()
    return summary


def summary_prompt(previous: str, talk: Sequence[Said]) -> Prompt:
    """Build the question for a summary. The talk goes in as one text: as a talk, a model would answer its last line."""
    said = "\n".join(f"{line.role}: {line.text}" for line in talk)
    material = f"<summary>\n{previous.strip() or '(none)'}\n</summary>\n\n<talk>\n{said}\n</talk>"
    return Prompt(SUMMARY_INSTRUCTIONS, (Said("user", material),))
