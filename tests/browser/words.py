"""The page's own words, so that a test finds a button in any language by what it is called there."""

import json
import re
from functools import cache

from chatproject.launch.plan import ROOT

ENTRY = re.compile(r'^  "?([\w.]+)"?: ("(?:[^"\\]|\\.)*"),$', re.MULTILINE)


@cache
def words(language: str) -> dict[str, str]:
    text = (ROOT / "frontend" / "src" / "i18n" / f"{language}.ts").read_text()
    return {key: json.loads(value) for key, value in ENTRY.findall(text)}


def named(language: str, key: str) -> re.Pattern[str]:
    """A whole name, whatever stands in its places; the forms for one and for many are both it."""
    forms = [re.sub(r"\\\{\w+\\\}", ".*", re.escape(form)) for form in words(language)[key].split("|")]
    return re.compile(f"^({'|'.join(forms)})$")
