"""Find sentences: those that bear on a question, and those that hold facts. Plain word counting, no model.

What the demo model answers with. Deterministic: the same talk and question give the same sentences.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

# Where one sentence ends and the next begins; a full stop after a title or inside "3.14" ends none.
_BREAK = re.compile(
    r"(?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bMrs\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<=[.!?…])\s+(?=[^\s.,;])"
)
_MARKER = re.compile(r"^\s*(?:(?:[-*•]|\d{1,2}[.)]|#{1,6}|>+)\s+)+")
_WORD = re.compile(r"[^\W_]+(?:[-.'’:/][^\W_]+)*")
_NAME = re.compile(r"(?<=[\w,;:)] )[A-ZÀ-Þ]\w+|\b[A-Z]{2,}\w*\b|\b\w+-\d+\b")
_WEIGHTY = re.compile(
    r"\b(remember|decid|agree|promis|deadline|must|never|always|prefer|import|called|named?\b|owner|owns|because|note\b"
    r"|plan|will\b|root cause|caused|moved|changed|chose|due\b|budget|cost)",
    re.IGNORECASE,
)
_LONGEST = 400  # characters of one quote

_COMMON = """
    a about again all also am an and any anyone anything are as ask at be because been before being but by can could
    did do does doing done else ever every for from get give go got had has have he her here hers him his how i if in
    into is it its just know last let like list many me might mine more most much must my need no not now of on
    one only or other our out over please quote recall remember remind said same say says shall she should show so some
    something such tell than that the their them then there these they thing this those to told too up us use very was
    we well were what when where which while who whom whose why will with would yes yet you your
    aber auch auf aus bei bin bitte das dass dein dem den der des die ein eine einen einer er es für hast hat ich ihr im
    ist kann mein mit nicht oder sie sind und uns von wann war warum was wer wie wir wo zu zum zur
"""
_STOPWORDS = frozenset(_COMMON.split())

_ASKS_FOR = (
    (
        re.compile(r"\bwhen\b|\bwhat (time|day|date)\b", re.IGNORECASE),
        re.compile(r"\d|day\b|\b(noon|midnight|morning|evening)", re.IGNORECASE),
    ),
    (re.compile(r"\bhow (many|much|long|old|far|big|often)\b|\bnumber\b", re.IGNORECASE), re.compile(r"\d")),
    (re.compile(r"\bwho(se|m)?\b", re.IGNORECASE), re.compile(r"[A-ZÀ-Þ]\w+")),
)


def sentences(text: str) -> list[str]:
    """Split a text into its sentences, without list marks; a very long one is cut."""
    found = []
    for line in text.splitlines():
        for part in _BREAK.split(_MARKER.sub("", line)):
            sentence = part.strip()
            if any(character.isalnum() for character in sentence):
                found.append(sentence if len(sentence) <= _LONGEST else sentence[: _LONGEST - 1].rstrip() + "…")
    return found


def terms(text: str) -> set[str]:
    """Return the words of a text that mean something, each cut down to its stem."""
    words = set()
    for match in _WORD.finditer(text.lower()):
        word = match[0]
        words.add(word)
        words.update(re.split(r"[-.'’:/]", word))
    return {_stem(word) for word in words if word not in _STOPWORDS and (len(word) > 1 or word.isdigit())}


def _stem(word: str) -> str:
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("e", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: len(word) - len(ending)] + instead
    return word


def bearing_on(question: str, said: Sequence[str], *, most: int = 3) -> list[str]:
    """Return the sentences that share the question's rarest words, in the order in which they were said."""
    asked = terms(question)
    wanted = [answers for asks, answers in _ASKS_FOR if asks.search(question)]
    unique = list(dict.fromkeys(reversed(said)))[::-1]  # said twice: the later place counts
    words = [terms(sentence) for sentence in unique]
    seen_in = Counter(word for found in words for word in found & asked)
    scored = []
    for place, (sentence, found) in enumerate(zip(unique, words, strict=True)):
        score = sum(
            math.log(1 + len(unique) / seen_in[word]) * (1.5 if any(c.isdigit() for c in word) else 1)
            for word in sorted(found & asked)
        )
        if not score:
            continue
        if sentence.endswith("?"):
            score *= 0.3  # a question seldom answers another
        if any(answers.search(sentence) for answers in wanted):
            score *= 1.3
        scored.append((score + place * 1e-6, place, sentence))  # of equals the latest: it may correct the first
    if not scored:
        return []
    bar = max(scored)[0] * 0.55
    best = sorted((entry for entry in scored if entry[0] >= bar), reverse=True)[:most]
    return [sentence for _, place, sentence in sorted(best, key=lambda entry: entry[1])]


def facts(said: Iterable[str], *, most_characters: int) -> list[str]:
    """Return the sentences worth keeping, in their order, within a length; no questions, greetings and thanks."""
    unique = list(dict.fromkeys(said))
    patterns = [_pattern(sentence) for sentence in unique]
    alike = Counter(patterns)
    worth = [_worth(sentence) / alike[pattern] for sentence, pattern in zip(unique, patterns, strict=True)]
    left, kept = most_characters, set()
    for place in sorted(range(len(unique)), key=lambda place: (-worth[place], place)):
        if worth[place] and len(unique[place]) <= left:
            left -= len(unique[place]) + 3
            kept.add(place)
    return [unique[place] for place in sorted(kept)]


def _pattern(sentence: str) -> str:
    # Lines that differ in a number alone are most often a log or a list of the same; each is worth less.
    return re.sub(r"\d+", "0", sentence.lower())


def _worth(sentence: str) -> float:
    if sentence.endswith("?") or is_greeting(sentence) or is_thanks(sentence):
        return 0
    worth = 1.0
    if re.search(r"\d", sentence):
        worth += 1.5
    if _NAME.search(sentence):
        worth += 1
    if _WEIGHTY.search(sentence):
        worth += 1.5
    return worth if len(sentence.split()) > 2 else worth * 0.3


def is_greeting(text: str) -> bool:
    return bool(_GREETING.match(text)) and len(text.split()) <= (2 if text.rstrip().endswith("?") else 5)


def is_thanks(text: str) -> bool:
    return bool(_THANKS.match(text)) and len(text.split()) <= 6


_GREETING = re.compile(
    r"\W*(hi|hello|hey|hiya|howdy|greetings|good (morning|afternoon|evening|day)|hallo|moin|servus"
    r"|guten (tag|morgen|abend)|bonjour|salut|hola|ciao|olá)\b",
    re.IGNORECASE,
)
_THANKS = re.compile(r"\W*(thanks|thank you|thx|cheers|great|perfect|danke|merci|gracias)\b", re.IGNORECASE)
