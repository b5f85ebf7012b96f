"""What every test may ask for. The servers of the in-process tests are chosen here, before Django reads its settings.

- `--database=sqlite|postgres`: what the in-process tests run on. On Postgres run those that need it: `-m postgres`.
- `--stacks=sqlite,postgres`: what the tests with real processes run on, one after the other.
- CHAT_TEST_SEED: the seed of every random choice; a failing test prints it. CHAT_TEST_PATIENCE: a factor for every
  time limit. CHAT_TEST_KEEP: keep the folders of the stacks, with their logs.
"""

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.conf import settings

from tests.processes import free_port
from tests.servers import Postgres, Redis
from tests.stack import Stack, Workshop

if TYPE_CHECKING:
    from chat.models import User

# What a message may name as its `llm` on the shared server: demos that say numbered words, and the scripted server's.
SWIFT, STEADY, LONG = (
    "demo?tokens=5&tokens_per_s=0",
    "demo?tokens=40&tokens_per_s=20",
    "demo?tokens=600&tokens_per_s=100",
)
SCRIPTED = (
    "tokens-600@100 echo 500 429-once cut-once-after-5 cut-after-5 never-first-token stall-after-5 empty quota nul"
)
OFFERED = ["demo", SWIFT, STEADY, LONG, *(f"openai:{model}" for model in SCRIPTED.split())]

SEED = int(os.environ.get("CHAT_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
_FOLDER = Path(tempfile.mkdtemp(prefix="tests-inside-"))


def _chosen_database() -> str:
    """Read --database before pytest does: pytest-django loads the settings while it still reads its options."""
    for index, word in enumerate(sys.argv):
        if word.startswith("--database="):
            return word.partition("=")[2]
        if word == "--database" and index + 1 < len(sys.argv):
            return sys.argv[index + 1]
    return os.environ.get("CHAT_TEST_DATABASE", "sqlite")


def _set_environment() -> tuple[Redis, Postgres | None]:
    kind = _chosen_database()
    os.environ["CHAT_TEST_DATABASE"] = kind  # for the processes of pytest-xdist, which do not see the command line
    for name in [name for name in os.environ if name.startswith("CHAT_") and not name.startswith("CHAT_TEST_")]:
        del os.environ[name]
    redis = Redis(_FOLDER)
    postgres = Postgres() if kind == "postgres" else None
    url = postgres.admin_url if postgres else f"sqlite:///{_FOLDER / 'chat.sqlite3'}"
    os.environ |= {"REDIS_URL": redis.url, "DATABASE_URL": url, "CHAT_DATA_DIR": str(_FOLDER), "CHAT_ENV": "local"}
    # Read here and not by pytest-django, which would do it before this environment stands; and not left in the
    # environment, or it would do just that in the processes of pytest-xdist.
    os.environ["DJANGO_SETTINGS_MODULE"] = "chatproject.settings"
    assert settings.DATABASES
    del os.environ["DJANGO_SETTINGS_MODULE"]
    return redis, postgres


_REDIS, _POSTGRES = _set_environment()
django.setup()  # so that a test's module may import rows at its top


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=("sqlite", "postgres"), default="sqlite", help="of the in-process tests")
    parser.addoption("--stacks", default="sqlite,postgres", help="databases of the tests with real processes")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "enough_on(kind): real processes on this database are enough in `make test`")
    config.addinivalue_line("markers", "postgres: an in-process test that runs on Postgres too (--database=postgres)")
    if not getattr(config.option, "numprocesses", None):  # of pytest-xdist: then the tests run elsewhere
        _REDIS.start()


def pytest_unconfigure(config: pytest.Config) -> None:
    _REDIS.end()
    if _POSTGRES is not None:
        _POSTGRES.end()
    shutil.rmtree(_FOLDER, ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> str:
    return f"chat: in-process tests on {_chosen_database()}; CHAT_TEST_SEED={SEED}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames:
        kinds = metafunc.config.getoption("--stacks").split(",")
        # What hardly depends on the database, or what `make chaos` plays on both for longer.
        if (enough := metafunc.definition.get_closest_marker("enough_on")) and enough.args[0] in kinds:
            kinds = [enough.args[0]]
        metafunc.parametrize("database", kinds, scope="session")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the tests out: a folder's stacks on one database to one process, where they share them; else by file."""
    from xdist.scheduler import LoadFileScheduling

    class ByStack(LoadFileScheduling):  # its own `loadgroup` marks nothing under this pytest
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            kinds = (kind for kind in ("sqlite", "postgres") if f"[{kind}" in nodeid)
            return next((f"{file.rpartition('/')[0]} on {kind}" for kind in kinds), file)

    config.option.loadscopereorder = False  # it would begin with the many short ones, and end with the long few
    return ByStack(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show what the processes wrote, and the seed, where a test fails."""
    report = yield
    if report.failed:
        report.sections.append(("seed", f"CHAT_TEST_SEED={SEED}"))
        for stack in list(Stack.living):
            for part in stack.parts:
                if part.log.exists():
                    report.sections.append((f"{part!r} of {stack.folder}", part.tail()))
    return report


# -- in-process tests --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_url() -> str:
    """The Redis of the in-process tests: a real server of their own."""
    return _REDIS.url


@pytest.fixture
def redis_server() -> Iterator[Redis]:
    """The Redis of the in-process tests, to kill, to freeze and to start again; it runs again afterwards."""
    yield _REDIS
    _REDIS.thaw()
    if not _REDIS.alive:
        _REDIS.start()


@pytest.fixture
def no_redis() -> str:
    """The URL of a Redis that is away."""
    return f"redis://127.0.0.1:{free_port()}/0"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Put SQLite's test database into a file: one in memory locks whole tables between threads, as no real one does."""
    from django.db import connections

    database = connections["default"].settings_dict
    if "sqlite" in database["ENGINE"]:
        database["TEST"]["NAME"] = str(_FOLDER / "test.sqlite3")


@pytest.fixture
def ada(db: None) -> "User":
    """The owner."""
    return _account("ada")


@pytest.fixture
def ben(db: None) -> "User":
    """A member."""
    return _account("ben")


@pytest.fixture
def eve(db: None) -> "User":
    """A stranger."""
    return _account("eve")


def _account(name: str) -> "User":
    from chat.models import User

    user = User(username=name)
    user.set_unusable_password()  # hashing one takes longer than most tests
    user.save()
    return user


@pytest.fixture(scope="session", autouse=True)
def _the_assistant_stays() -> None:
    """A test with real transactions empties every table behind it: put back what the migrations had put there."""
    from django.apps import apps
    from django.db.models.signals import post_migrate

    add_assistant = import_module("chat.migrations.0002_assistant").add_assistant

    def restore(**_: object) -> None:
        add_assistant(apps, None)

    post_migrate.connect(restore, sender=apps.get_app_config("chat"), weak=False)


# -- tests with real processes -----------------------------------------------------------------------------------------


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Random choices that CHAT_TEST_SEED repeats."""
    return random.Random(f"{SEED} {request.node.nodeid}")


@pytest.fixture(scope="session")
def workshop() -> Iterator[Workshop]:
    made = Workshop()
    yield made
    made.end()


NewStack = Callable[..., Stack]


@pytest.fixture
def new_stack(workshop: Workshop, database: str) -> Iterator[NewStack]:
    """Start servers of a test's own, to be killed."""
    made: list[Stack] = []

    def start(**options: Any) -> Stack:
        stack = Stack(workshop, database, **options)
        made.append(stack)
        return stack.start()

    yield start
    for one in made:
        one.end()
