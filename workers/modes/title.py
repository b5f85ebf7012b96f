"""The name of a talk: a few words, found once it has begun."""

import re

from workers.llm.base import LLM, TITLE_INSTRUCTIONS, Prompt, Said
from workers.modes.base import whole_text

MATERIAL_CHARS = 2000  # of the question, and of the answer
TITLE_CHARS = 80

_LABEL = re.compile(r"^(title|titel|标题|题目)\s*[:：]\s*", re.IGNORECASE)
_AROUND = " \t*_#`\"'“”„‘’«»《》「」"


async def find_title(llm: LLM, question: str, answer: str) -> str:
    """Return a name for a talk that began like this; empty where the model gave none. Raises: LLMError."""
    return as_title(await whole_text(llm, title_prompt(question, answer)))


def title_prompt(question: str, answer: str) -> Prompt:
    """Build the question for a name. What was said goes in as material: as a talk, a model would go on with it."""
    said = f"<question>\n{question[:MATERIAL_CHARS]}\n</question>\n\n<answer>\n{answer[:MATERIAL_CHARS]}\n</answer>"
    return Prompt(TITLE_INSTRUCTIONS, (Said("user", said),))


def as_title(text: str) -> str:
    """Make one plain line of what a model wrote: models like to add quotes, marks and a label."""
    lines = [line for line in text.splitlines() if line.strip(_AROUND)]
    if not lines:
        return ""
    title = _LABEL.sub("", " ".join(lines[0].split()).strip(_AROUND)).strip(_AROUND)
    title = title.rstrip(".。")
    return title if len(title) <= TITLE_CHARS else title[: TITLE_CHARS - 1].rstrip() + "…"
