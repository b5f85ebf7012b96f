"""Reading Vite's list of what it built."""

from pathlib import Path
from typing import Any

import pytest

from chat.api import built as module
from chat.api.built import Built, built, read_list

LISTED: dict[str, dict[str, Any]] = {
    "src/main.tsx": {
        "file": "assets/main-aaaaaaaa.js",
        "isEntry": True,
        "imports": ["_parts.js", "_shared.js"],
        "dynamicImports": ["src/late.tsx"],
        "css": ["assets/main-bbbbbbbb.css"],
    },
    "_parts.js": {"file": "assets/parts-cccccccc.js", "imports": ["_shared.js"], "css": ["assets/parts-dddddddd.css"]},
    "_shared.js": {"file": "assets/shared-eeeeeeee.js", "imports": ["_parts.js"], "css": ["assets/main-bbbbbbbb.css"]},
    "src/late.tsx": {"file": "assets/late-ffffffff.js", "css": ["assets/late-gggggggg.css"]},
}


def test_the_entry_is_found_with_what_it_needs_at_once_and_nothing_that_comes_later() -> None:
    assert read_list(LISTED) == Built(
        script="app/assets/main-aaaaaaaa.js",
        styles=("app/assets/main-bbbbbbbb.css", "app/assets/parts-dddddddd.css"),
        imports=("app/assets/parts-cccccccc.js", "app/assets/shared-eeeeeeee.js"),
    )


def test_a_page_that_was_not_built_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    assert built.__wrapped__() is None
