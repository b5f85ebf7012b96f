"""Leaving out what a library imports only where it finds it."""

import sys
from collections.abc import Iterator

import pytest

from chat.without import without


@pytest.fixture(autouse=True)
def _unloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "this", raising=False)
        yield


def test_what_is_left_out_is_not_found_inside_and_found_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    with without("this"), pytest.raises(ModuleNotFoundError):
        import this
    import this

    assert sys.modules["this"] is this
    assert "Beautiful is better than ugly." in capsys.readouterr().out


def test_what_is_loaded_already_stays(capsys: pytest.CaptureFixture[str]) -> None:
    import this as loaded

    with without("this"):
        import this

        assert this is loaded
    assert sys.modules["this"] is loaded


def test_where_an_import_fails_it_is_found_afterwards() -> None:
    with pytest.raises(ModuleNotFoundError), without("this"):
        import this  # noqa: F401
    assert "this" not in sys.modules
