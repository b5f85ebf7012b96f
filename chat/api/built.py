"""What the build of the page has made: which script to load, and which styles, by Vite's own list."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "static" / "app"


@dataclass(frozen=True)
class Built:
    """Names below `static/`."""

    script: str
    styles: tuple[str, ...]
    # What the script imports at once: known beforehand, so that the browser need not find out one by one.
    imports: tuple[str, ...]


@cache  # the static files too are listed once, at the start
def built() -> Built | None:
    """Read the list. None: the page was not built."""
    try:
        listed = json.loads((FOLDER / ".vite" / "manifest.json").read_text())
    except OSError:
        return None
    return read_list(listed)


def read_list(listed: dict[str, dict[str, Any]]) -> Built:
    entry = next(chunk for chunk in listed.values() if chunk.get("isEntry"))
    chunks = [entry]
    for chunk in chunks:  # grows while it is read
        chunks += [found for name in chunk.get("imports", ()) if (found := listed[name]) not in chunks]
    styles = dict.fromkeys(name for chunk in chunks for name in chunk.get("css", ()))
    return Built(
        script=f"app/{entry['file']}",
        styles=tuple(f"app/{name}" for name in styles),
        imports=tuple(f"app/{chunk['file']}" for chunk in chunks[1:]),
    )
