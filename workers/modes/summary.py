"""The rolling summary: what was said too long ago to fit the context, in a few lines that keep the facts."""

from collections.abc import Sequence

from workers.llm.base import LLM, SUMMARY_INSTRUCTIONS, Prompt, Said, empty_answer
from workers.modes.base import whole_text


async def summarise(llm: LLM, previous: str, talk: Sequence[Said]) -> str:
    """Return one summary of the previous summary and of the talk since. Raises: LLMError."""
    summary = (await whole_text(llm, summary_prompt(previous, talk))).strip()
    if not summary:
        raise empty_answer()
    return summary


def summary_prompt(previous: str, talk: Sequence[Said]) -> Prompt:
    """Build the question for a summary. The talk goes in as one text: as a talk, a model would answer its last line."""
    said = "\n".join(f"{line.role}: {line.text}" for line in talk)
    material = f"<summary>\n{previous.strip() or '(none)'}\n</summary>\n\n<talk>\n{said}\n</talk>"
    return Prompt(SUMMARY_INSTRUCTIONS, (Said("user", material),))
