"""Tools that ask people."""

from typing import Annotated

from pydantic import AfterValidator, Field

from workers.tools.base import tool

Question = Annotated[str, Field(min_length=1, max_length=2000)]
Choice = Annotated[str, Field(min_length=1, max_length=200)]


def _each_once(choices: list[str]) -> list[str]:
    if len(set(choices)) < len(choices):
        raise ValueError("each choice must be another one")
    return choices


Choices = Annotated[list[Choice], Field(min_length=2, max_length=20), AfterValidator(_each_once)]


@tool(effect="pure", access="read", asks=True)
def ask_human(question: Question, choices: Choices | None = None) -> str:
    """Ask the people in this conversation something that only they can know or decide, and wait for the answer.

    With `choices` they choose one of them; without, they answer in their own words.
    """
    raise AssertionError("the answer comes from people")
