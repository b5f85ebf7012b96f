"""Who is meant by "@support, where is my order?": the names that a text mentions. Whose they are is for others to say.

A mention may stand anywhere, also within Chinese, which has no spaces: "请@support帮我". An address is none, nor is
what stands in code or in a link.
"""

import re
import unicodedata

_NAME = re.compile(r"[@\uff20]([A-Za-z][A-Za-z0-9_-]{0,63})(?![A-Za-z0-9_-])")
_GLUE = "._%+-/`@\uff20"  # before an @: the end of an address's own part, of a link, or code


def names_in(text: str) -> list[str]:
    """The names that are mentioned, in their order and as they are written."""
    names = []
    for found in _NAME.finditer(text):
        if _begins_word(text, found.start()) and not _is_host(text, found.end()):
            names.append(found[1])
            if (shorter := found[1].rstrip("-_")) != found[1]:
                names.append(shorter)  # "@support--" and "@support_" end a phrase as a rule
    return names


def _begins_word(text: str, at: int) -> bool:
    if at == 0:
        return True
    before = text[at - 1]
    if before in _GLUE:
        return False
    # Chinese and Japanese letters are wide, and join no word with what follows.
    return not before.isalnum() or unicodedata.east_asian_width(before) in "WF"


def _is_host(text: str, end: int) -> bool:
    """Whether it goes on like mail.example: what follows the dot is a letter."""
    return text[end : end + 1] == "." and text[end + 1 : end + 2].isalnum() and text[end + 1].isascii()
