"""Read settings from the environment, and loudly refuse what makes no sense."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from django.core.exceptions import ImproperlyConfigured

MOST = 10**9  # where there is no better bound: as seconds 31 years, which every date and timer can be moved by
DAYS_MOST = 36_500


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def number(name: str, default: float, least: float = 0, most: float = MOST) -> float:
    raw = text(name)
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name} must be a number from {least:.12g} to {most:.12g}; it is {raw!r}")
    return value


def count(name: str, default: int, least: int = 0, most: int = MOST) -> int:
    value = number(name, default, least, most)
    if value != int(value):
        raise ImproperlyConfigured(f"{name} must be a whole number; it is {value:g}")
    return int(value)


def days(name: str, default: float) -> float:
    """A number of days; or of seconds, written like 90s."""
    raw = text(name)
    if not raw.endswith("s"):
        return number(name, default, most=DAYS_MOST)
    try:
        value = float(raw[:-1]) / 86_400
    except ValueError:
        value = -1.0
    if not 0 <= value <= DAYS_MOST:
        raise ImproperlyConfigured(
            f"{name} must be a number of days, at most {DAYS_MOST}, or of seconds like 90s; it is {raw!r}"
        )
    return value


def listed(name: str) -> list[str]:
    return [part.strip() for part in text(name).split(",") if part.strip()]


def adopt_running_stack(data_dir: Path) -> None:
    """Take the settings of the stack that runs on this data folder, where the environment is silent."""
    try:
        lines = (data_dir / "run" / "env").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition("=")
        if name in {"PORT", "REDIS_URL", "DATABASE_URL", "CHAT_ENV"}:
            os.environ.setdefault(name, value)


def secret_key(data_dir: Path, *, local: bool) -> str:
    """The signing key: SECRET_KEY, or, in local mode alone, one made once and kept in the data folder."""
    given = text("SECRET_KEY")
    if given or not local:
        if not given:
            raise ImproperlyConfigured("SECRET_KEY must be set when CHAT_ENV is production")
        return given
    from django.core.management.utils import get_random_secret_key

    path = data_dir / "secret-key"
    if not path.exists():
        # Written aside and then linked: of several processes that start together one wins, and none reads half a key.
        with NamedTemporaryFile("w", dir=data_dir, prefix="secret-key.") as draft:  # made with mode 600
            draft.write(get_random_secret_key())
            draft.flush()
            with suppress(FileExistsError):
                os.link(draft.name, path)
    return path.read_text().strip()
