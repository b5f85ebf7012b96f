"""Text and JSON as every database stores it and UTF-8 can carry it."""

from typing import Any


class Cleaned(str):
    """Text that is not quite what was written."""

    __slots__ = ()


def clean_text(text: str) -> str:
    """Without NUL, which Postgres refuses; half of a surrogate pair becomes U+FFFD. What was changed is `Cleaned`."""
    clean = text.replace("\0", "") if "\0" in text else text
    if not clean.isascii():
        clean = clean.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text if clean == text else Cleaned(clean)


def clean_json(value: Any) -> Any:
    """Clean every text of a JSON value, names too."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(name): clean_json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [clean_json(inner) for inner in value]
    return value
