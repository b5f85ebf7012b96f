"""The files that operators copy start what the Procfile starts, and name settings and paths that there are."""

import contextlib
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.debian import find

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "operations" / "deploy"
PARTS = ("web", "worker", "beat")
UNITS = sorted(path.name for path in DEPLOY.glob("*.service"))
GUIDE = (DEPLOY.parent / "deployment.md").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
OWN = {"-b", "-p", "--hostname"}  # the words after these are the place's own


def words(command: str) -> list[str]:
    """A command from its module on, without what differs from place to place."""
    told = shlex.split(command)
    told = told[told.index("-m") :]
    return [word for before, word in zip(["", *told], told, strict=False) if word not in OWN and before not in OWN]


def procfile() -> dict[str, list[str]]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {line.split(":", 1)[0]: words(line.split(":", 1)[1]) for line in lines if not line.startswith("#")}


@pytest.mark.parametrize(("part", "unit"), [("web", "chat-web@"), ("worker", "chat-worker@"), ("beat", "chat-beat")])
def test_a_unit_starts_what_the_procfile_starts(part: str, unit: str) -> None:
    text = (DEPLOY / f"{unit}.service").read_text()
    command = re.search(r"^ExecStart=(.+)$", text, re.MULTILINE)
    assert command and words(command[1]) == procfile()[part]


@pytest.mark.parametrize("part", PARTS)
def test_a_container_starts_what_the_procfile_starts(part: str) -> None:
    service = COMPOSE["services"][part]
    if "command" in service:
        told = shlex.join(service["command"])
    else:
        [line] = re.findall(r"^CMD (\[.+\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
        told = shlex.join(yaml.safe_load(line))
    assert words(told) == procfile()[part]


def test_the_image_holds_what_it_copies_and_nothing_else() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert all((ROOT / name).exists() for name in names)
    let_in = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    assert let_in == names


def test_the_dockerfile_has_no_fault_that_the_linter_knows() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    subprocess.run([hadolint, DEPLOY / "Dockerfile"], check=True)


def test_every_setting_of_the_example_is_a_setting() -> None:
    code = "".join(path.read_text() for path in (ROOT / "chatproject").glob("*.py"))
    code += "".join(path.read_text() for path in (ROOT / "workers" / "llm").glob("*.py"))
    for name in example():
        assert f'"{name}"' in code or name in asked_by_compose(), f"{name} is read nowhere"


# --- compose ----------------------------------------------------------------------------------------------------------
def example() -> dict[str, str]:
    """What the example of the settings names, commented out or not."""
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (DEPLOY / "chat.env.example").read_text(), re.MULTILINE))


def asked_by_compose() -> set[str]:
    """The variables that Compose refuses to start without."""
    named = re.findall(r"\$\{(\w+)([^}]*)\}", (DEPLOY / "compose.yml").read_text())
    secrets = {secret["environment"] for secret in COMPOSE["secrets"].values()}
    return {name for name, rest in named if not rest.startswith(":-")} | secrets


def test_what_compose_asks_for_stands_in_the_example_to_be_filled_in() -> None:
    """Compose reads `.env` beside its file, and that is what `env_file` gives the containers: one file for both."""
    filled_in = re.findall(r"^([A-Z_]+)=", (DEPLOY / "chat.env.example").read_text(), re.MULTILINE)
    assert asked_by_compose() == {"POSTGRES_PASSWORD", "CHAT_METRICS_TOKEN"}
    assert asked_by_compose() <= set(filled_in)
    services = [service for service in COMPOSE["services"].values() if service.get("image") == "chat-server"]
    assert len(services) == 4 and {service["env_file"] for service in services} == {".env"}
    head = (DEPLOY / "compose.yml").read_text().split("\nname:")[0]
    assert "cp chat.env.example .env" in head


def test_every_part_of_compose_that_is_named_is_there() -> None:
    for service in COMPOSE["services"].values():
        for kind in ("networks", "secrets"):
            assert set(service.get(kind, [])) <= set(COMPOSE[kind])
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"])
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).is_file(), source
            elif not source.startswith("$"):
                assert source in COMPOSE["volumes"]
    build = COMPOSE["x-chat"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT and (ROOT / build["dockerfile"]).is_file()


def test_prometheus_finds_the_parts_of_compose_once_each_and_where_they_listen() -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus-compose.yml").read_text())["scrape_configs"]
    found = {names["names"][0]: names["port"] for job in jobs for names in job["dns_sd_configs"]}
    worker = COMPOSE["services"]["worker"]["environment"]
    assert found == {"web": 8000, "worker": worker["CHAT_METRICS_PORT"]}
    assert worker["CHAT_METRICS_HOST"] == "0.0.0.0"
    assert '"-p", "8000"' in (DEPLOY / "Dockerfile").read_text()
    ours = set(COMPOSE["services"]["prometheus"]["networks"])
    for part in found:  # one address in common: with two, each process would be asked twice
        assert len(ours & set(COMPOSE["services"][part]["networks"])) == 1


def test_nginx_of_compose_asks_the_port_that_web_listens_at() -> None:
    mounted = {volume.split(":")[0] for volume in COMPOSE["services"]["nginx"]["volumes"]}
    assert {"./nginx.conf", "./upstream-compose.conf"} <= mounted
    upstream = (DEPLOY / "upstream-compose.conf").read_text()
    assert re.findall(r"^\s*server (\S+)", upstream, re.MULTILINE) == ["web:8000"]
    # The same upstream as on machines: what differs is who is in it.
    [name] = re.findall(r"^upstream (\w+)", upstream, re.MULTILINE)
    assert re.findall(r"^upstream (\w+)", (DEPLOY / "upstream.conf").read_text(), re.MULTILINE) == [name]
    assert set(re.findall(r"proxy_pass (\S+);", (DEPLOY / "nginx.conf").read_text())) == {f"http://{name}"}


def test_haproxy_takes_its_configuration() -> None:
    libraries = ("liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")
    haproxy = find("haproxy", "haproxy", *libraries)
    done = subprocess.run([*haproxy, "-c", "-f", DEPLOY / "haproxy.cfg"], check=False, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr


# --- units ------------------------------------------------------------------------------------------------------------
def enabled() -> dict[str, list[str]]:
    """The instances of each unit that the guide has people start."""
    [line] = re.findall(r"systemctl enable --now (.+?)`", GUIDE.replace("\n", " "))
    found: dict[str, list[str]] = {}
    for unit in line.split():
        name, _, instance = unit.partition("@")
        found.setdefault(name, []).append(instance)
    return found


def started(unit: str, instance: str, **given: str) -> tuple[list[str], dict[str, str]]:
    """The command and the environment that systemd makes of a unit, where EnvironmentFile holds what is given."""
    text = (DEPLOY / f"{unit}@.service").read_text()
    for specifier, value in (("%%", "\0"), ("%i", instance), ("\0", "%")):
        text = text.replace(specifier, value)
    env: dict[str, str] = {}
    for line in re.findall(r"^Environment=(.+)$", text, re.MULTILINE):
        env |= dict(word.split("=", 1) for word in shlex.split(line))
    env |= given  # the file's words come last
    [command] = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    return [re.sub(r"\$\{(\w+)\}", lambda found: env[found[1]], word) for word in shlex.split(command)], env


def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    for path in [*DEPLOY.glob("*.service"), *DEPLOY.glob("*.target")]:
        text = path.read_text().replace("/opt/chat/.venv/bin/python", sys.executable)
        (tmp_path / path.name).write_text(text)
    names = [name.replace("@.", "@8001." if "web" in name else "@1.") for name in UNITS]
    command = [*find("systemd-analyze", "systemd"), "verify", "--man=no", "chat.target", *names]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, capture_output=True, text=True
    )
    # A key that it does not know is a line and no failure.
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", [name for name in UNITS if "migrate" not in name])
def test_a_process_is_started_again_however_often_it_fails(unit: str) -> None:
    """systemd's default gives up for good after five starts in ten seconds."""
    head, _, service = (DEPLOY / unit).read_text().partition("[Service]")
    assert "\nStartLimitIntervalSec=0\n" in head and "\nRestart=always\n" in service


def test_web_listens_where_the_settings_say_and_else_on_this_machine_alone() -> None:
    for given, address in (({}, "127.0.0.1"), ({"HOST": "10.0.0.11"}, "10.0.0.11")):
        command, _ = started("chat-web", "8001", **given)
        assert command[command.index("-b") + 1] == address and command[command.index("-p") + 1] == "8001"


def test_each_worker_of_a_machine_has_a_port_for_its_metrics() -> None:
    ports = [int(started("chat-worker", str(number))[1]["CHAT_METRICS_PORT"]) for number in range(1, 10)]
    assert len(set(ports)) == 9 and max(ports) < 2**16
    assert "CHAT_METRICS_PORT" not in example()  # it would win, and be the same for all


def test_nginx_and_prometheus_ask_the_processes_that_the_guide_starts() -> None:
    web = [f"127.0.0.1:{port}" for port in enabled()["chat-web"]]
    metrics = [started("chat-worker", number)[1]["CHAT_METRICS_PORT"] for number in enabled()["chat-worker"]]
    upstream = (DEPLOY / "upstream.conf").read_text()
    assert re.findall(r"^\s*server (\S+)", upstream, re.MULTILINE) == web
    jobs = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}
    assert targets == {"chat-web": web, "chat-worker": [f"127.0.0.1:{port}" for port in metrics]}


def test_no_command_of_the_guide_shows_secrets_to_the_system() -> None:
    """What stands on a command line is in the list of processes, and sudo writes it into the log."""
    assert not re.search(r"\$\((cat|grep|sed)[^)]*chat\.env|\benv \$", GUIDE)


# --- backups ----------------------------------------------------------------------------------------------------------
WRITES = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode = wal")
database.execute("PRAGMA wal_autocheckpoint = 0")
database.execute("CREATE TABLE IF NOT EXISTS said (text)")
for number in range(2000):
    database.execute("INSERT INTO said VALUES (?)", (f"{sys.argv[2]} {number} " * 20,))
os._exit(9)  # as one that is killed
"""


def test_a_backup_put_back_after_a_crash_is_whole(tmp_path: Path) -> None:
    """What the guide says, as it says it, but for the account and the places."""
    data, backup = tmp_path / "data", tmp_path / "backup"
    for folder in (data, backup):
        folder.mkdir()
    database = data / "chat.sqlite3"
    places = {"/var/lib/chat": str(data), "/backup": str(backup), "--owner=chat --group=chat ": ""}

    def here(command: str) -> str:
        for there, place in places.items():
            command = command.replace(there, place)
        return command

    [back_up] = re.findall(r'`(sqlite3 /var/lib/chat/\S+ "\.backup [^`]+)`', GUIDE)
    [restore] = re.findall(r"^```\n([^`]*/backup/chat\.sqlite3[^`]*)```$", GUIDE, re.MULTILINE)
    program = shlex.join(find("sqlite3", "sqlite3"))
    subprocess.run([sys.executable, "-c", WRITES, database, "before"], check=False)
    subprocess.run(here(back_up).replace("sqlite3", program, 1), shell=True, check=True)
    subprocess.run([sys.executable, "-c", WRITES, database, "after"], check=False)
    assert (data / "chat.sqlite3-wal").stat().st_size, "nobody has put it into the file"
    subprocess.run(here(restore), shell=True, check=True)
    with contextlib.closing(sqlite3.connect(database)) as restored:
        assert restored.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert restored.execute("SELECT count(*), min(text) < 'before' FROM said").fetchall() == [(2000, 0)]
    assert database.stat().st_mode & 0o777 == 0o600
