"""Tool calls and questions in words, and the words of a person as an answer. Text only."""

import json
from typing import Any

Row = dict[str, Any]

SHOWN_CHARS = 160  # of a call's arguments

SETTLED = {
    "returned": "✓",
    "failed": "✗",
    "refused": "✗",
    "skipped": "✗",
    "cancelled": "✗",
    "unknown": "✗",
}
WORDS = {"returned": "", "skipped": "skipped, as one before it was refused", "unknown": "may have happened"}
UNDER_WAY = {
    "waiting": "waits for a person",
    "held": "waits for the one before it",
    "called": "running",
    "unknown": "was called, and did not tell what came of it",
}


class NoAnswer(ValueError):
    """What was said is no answer to the question; `str()` says what would be."""


# --- tool calls -------------------------------------------------------------------------------------------------------
def is_settled(call: Row, *, is_run_open: bool) -> bool:
    """Whether nothing more becomes of it. Of what nobody knows people are asked, while its run is open."""
    return call["status"] in SETTLED and not (call["status"] == "unknown" and is_run_open)


def call_text(call: Row) -> str:
    """The call as one would write it: cancel_order(order_id="1001")."""
    args = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call["args"].items())
    return f"{call['tool']}({args if len(args) <= SHOWN_CHARS else args[: SHOWN_CHARS - 1] + '…'})"


def call_line(call: Row) -> str:
    """What a call has come to, and how long it took."""
    status = call["status"]
    parts = [f"{SETTLED[status]} {call_text(call)}"]
    error = call.get("error")
    if status == "failed" and error:  # why one was refused is in the answer, which the talk shows
        parts.append(f"{status}: {error['message']}")
    elif word := WORDS.get(status, status):
        parts.append(word)
    if (seconds := call.get("duration_s")) is not None:
        parts.append(f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s")
    return " · ".join(parts)


def progress_line(call: Row) -> str:
    return f"{call_text(call)} · {UNDER_WAY.get(call['status'], call['status'])}"


# --- questions --------------------------------------------------------------------------------------------------------
def question_line(question: Row) -> str:
    """The question, and under it what exactly would be called, or what there is to choose from."""
    lines = [question["prompt"]]
    if question["reason"] == "approval" and "tool" in question["payload"]:
        lines.append(f"  {question['payload']['tool']}({args_text(question)})")
    lines += [f"  {number}  {choice}" for number, choice in enumerate(choices_of(question), 1)]
    return "\n".join(lines)


def how_to_answer(question: Row, *, on_screen: bool = False) -> str:
    if question["reason"] == "approval":
        return "y approves, n or n REASON refuses" + (", e edits the arguments first" if on_screen else "")
    if question["reason"] == "choice":
        return "a number, or the words of a choice"
    return "the next line is the answer"


def answer_line(question: Row) -> str:
    """What became of a question."""
    answer = question["answer"] or {}
    if question["status"] != "resolved":
        return {"expired": "nobody answered in time", "withdrawn": "the question was withdrawn"}[question["status"]]
    if "approved" in answer:
        if answer["approved"]:
            return "approved, with other arguments" if answer.get("args") is not None else "approved"
        return f"refused: {answer['reason']}" if answer.get("reason") else "refused"
    return f"answered: {answer.get('text') or answer.get('choice') or ''}"


def choices_of(question: Row) -> list[str]:
    """Of a choice: the words that may be chosen."""
    return [str(one) for one in question["payload"].get("choices") or ()]


def args_text(question: Row) -> str:
    """Of an approval: the arguments that are to be approved, to be edited."""
    return json.dumps(question["payload"].get("args") or {}, ensure_ascii=False)


def read_answer(question: Row, line: str) -> Row:
    """Understand a line as the answer of a person. Raises NoAnswer: nothing but a plain yes is a yes."""
    said = line.strip()
    word, _, rest = said.partition(" ")
    if question["reason"] == "approval":
        if said.lower() in {"y", "yes"}:
            return {"approved": True}
        if word.lower() in {"n", "no"}:
            return {"approved": False} | ({"reason": rest.strip()} if rest.strip() else {})
        raise NoAnswer(how_to_answer(question))
    if question["reason"] == "choice":
        choices = choices_of(question)
        if said in choices:
            return {"choice": said}
        if said.isdecimal() and 1 <= int(said) <= len(choices):
            return {"choice": choices[int(said) - 1]}
        raise NoAnswer(how_to_answer(question))
    return {"text": said}


def read_args(text: str) -> Row:
    """Understand edited arguments. Raises NoAnswer."""
    try:
        args = json.loads(text)
    except ValueError:
        args = None
    if not isinstance(args, dict):
        raise NoAnswer("the arguments are a JSON object")
    return {"approved": True, "args": args}
