"""Read settings from the environment, and loudly refuse what makes no sense."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
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


def data_dir() -> Path:
    return Path(text("CHAT_DATA_DIR", str(BASE_DIR / ".data"))).resolve()


def adopt_running_stack() -> None:
    """Take the settings of the stack that runs on the data folder, where the environment is silent.

    For commands alone: a server that took them would be a second one in local mode, whatever it was meant to be.
    """
    folder = data_dir()
    try:
        lines = (folder / "run" / "env").read_text().splitlines()
    except OSError:
        return
    if not is_held(folder / "lock"):
        return  # one that was killed has left it
    for line in lines:
        name, _, value = line.partition("=")
        if name in {"PORT", "REDIS_URL", "DATABASE_URL", "CHAT_ENV"}:
            os.environ.setdefault(name, value)


def is_held(lock: Path) -> bool:
    """Whether a launcher lives, which holds the lock of its data folder."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


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
