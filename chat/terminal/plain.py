"""What of a received text may reach a terminal: letters and line breaks, no orders to the terminal."""

import re

# Whole sequences go, not only their first character: "\x1b[31mred" reads "red". One that is not finished at the end of
# the text goes too, so the plain form of a growing text only ever grows. The bounds keep a hostile text from costing
# more than its length, and from hiding more than a line of what follows an unclosed sequence.
_UNWANTED = re.compile(
    r"""
      (?:\x1b\[|\x9b) [0-?]{0,64} [\ -/]{0,16} (?:[@-~]|\Z)                               # colours, cursor, screen
    | (?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]) [^\x07\x1b\x80-\x9f]{0,512} (?:\x07|\x9c|\x1b\\|\x1b?\Z)  # titles, links
    | \x1b [\ -/]{0,16} (?:[0-~]|\Z)                                                      # character sets, resets
    | [\x00-\x08\x0b-\x1f\x7f-\x9f]                                                       # what is left of control
    | [\u202a-\u202e\u2066-\u2069]                                                        # turns the order of letters
    """,
    re.VERBOSE,
)
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def plain(text: str) -> str:
    """Strip control characters and escape sequences; a line break and a tab stay."""
    return _LONE_SURROGATE.sub("\ufffd", _UNWANTED.sub("", text))


def plain_line(text: str) -> str:
    """The same for a name or a title: one line, whatever was in it."""
    return " ".join(plain(text).split())
