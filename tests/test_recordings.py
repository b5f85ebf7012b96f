"""What a real server once sent folds to what it then showed. The page's fold is held to the same files (frontend/)."""

import json

import pytest

from tests.fold import Frame, Row, differences
from tests.record import FOLDER, SCENES, drafts_of, replay


def load(name: str) -> tuple[list[Frame], Row]:
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines], json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def test_every_scene_is_recorded_and_nothing_else() -> None:
    assert (
        {path.stem for path in FOLDER.glob("*.jsonl")} == set(SCENES) == {path.stem for path in FOLDER.glob("*.json")}
    )


@pytest.mark.parametrize("name", SCENES)
def test_a_recording_folds_to_the_page_that_the_server_showed(name: str) -> None:
    frames, recording = load(name)
    shown = dict(recording["shown"])
    fold = None
    for line, fold in replay(frames, recording):
        expected = shown.pop(str(line), None)
        assert expected is None or drafts_of(fold) == expected, f"line {line}"
    assert not shown, "drafts were shown after lines that are gone"
    assert fold is not None
    assert list(differences(fold.state(), recording["state"])) == []
