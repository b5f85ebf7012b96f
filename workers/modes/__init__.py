"""The ways to work on an answer, by name."""

from workers.modes import direct, react
from workers.modes.base import Mode

__all__ = ["MODES", "open_mode"]

MODES: dict[str, Mode] = {
    "direct": direct.direct,
    "react": react.react,
}


def open_mode(name: str) -> Mode:
    """Return the mode of that name. Raises: ValueError, with a text for whoever set the name."""
    if name not in MODES:
        raise ValueError(f"There is no mode {name!r}; there is {', '.join(sorted(MODES))}.")
    return MODES[name]
