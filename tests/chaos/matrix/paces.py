"""How the two language models of the matrix answer: numbered words, so that a lost or doubled one is seen."""

from dataclasses import dataclass

_DEMO = " ".join(f"w{number}" for number in range(1, 2001))
_SCRIPTED = " ".join(f"t{number}" for number in range(1, 2001)) + " "


def is_begun_rightly(shown: str) -> bool:
    """Whether a draft is the beginning of one answer, and of one alone."""
    return _DEMO.startswith(shown) or _SCRIPTED.startswith(shown)


@dataclass(frozen=True)
class Pace:
    """So many words, so many a second."""

    tokens: int
    per_s: float

    @property
    def seconds(self) -> float:
        return self.tokens / self.per_s

    @property
    def demo(self) -> str:
        """The demo LLM, inside the worker."""
        return f"demo?tokens={self.tokens}&tokens_per_s={self.per_s:g}&first_token_ms=0"

    @property
    def scripted(self) -> str:
        """A server of the tests' own that speaks OpenAI's protocol."""
        return f"openai:tokens-{self.tokens}@{self.per_s:g}"

    def names(self, *, scripted: bool) -> tuple[str, ...]:
        return (self.demo, self.scripted) if scripted else (self.demo,)

    @staticmethod
    def text(llm: str) -> str:
        """What a model of that name says."""
        if llm.startswith("demo"):
            tokens = int(llm.partition("tokens=")[2].partition("&")[0])
            return " ".join(f"w{number}" for number in range(1, tokens + 1))
        tokens = int(llm.partition("tokens-")[2].partition("@")[0])
        return " ".join(f"t{number}" for number in range(1, tokens + 1))


SWIFT, BRIEF, STEADY, LONG = Pace(10, 100), Pace(10, 20), Pace(30, 10), Pace(80, 8)
OFFERED = [name for pace in (SWIFT, BRIEF, STEADY, LONG) for name in pace.names(scripted=True)]
