"""`make chaos`: kills, freezes, starves and cuts off a chat server's parts, and counts what users would have noticed.

    --database sqlite|postgres   one of the two; else both
    --fault NAME                 a fault of the matrix by name or number; may be given again
    --seed N                     repeats the choices of a run
    --kills N                    how many workers the storm kills on each database (50)
    --minutes N                  what does not fit in is reported as failed (30)
    --out FOLDER                 writes chaos.md, chaos.json and the logs of what failed
    --write                      puts the table into docs/guarantees.md

Storms run one after the other, so that their times are those of this machine; the other faults of the two databases run
at the same time, in a process each. Exits with 1 when a row failed.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.chaos.matrix.lane import Lane, chosen
from tests.chaos.matrix.report import Report, Row, rows_from
from tests.chaos.matrix.scene import Fault

STORMS = {"storm"}


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgres"))
    parser.add_argument("--fault", action="append", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)  # a lane's own process: where its rows go
    parser.add_argument("--until", type=float, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    given.seed = given.seed or random.SystemRandom().randrange(1, 2**32)
    return given


class Tell:
    """Progress, a line at a time, with how long it has been."""

    def __init__(self, begun: float) -> None:
        self.begun = begun

    def __call__(self, line: str) -> None:
        print(f"{time.time() - self.begun:5.0f} s  {line}", flush=True)


def play_lane(given: argparse.Namespace) -> None:
    """One database, in this process: the rows go to a file, for the process that started it."""
    tell = lambda line: print(f"{given.database}: {line}", flush=True)  # noqa: E731
    lane = Lane(given.database, given.seed, tell, given.out, kills=given.kills, hits=given.kills * 20)
    rows = lane.play(chosen(given.fault), given.until)
    given.rows.write_text(json.dumps([vars(row) for row in rows]))


def start_lane(
    given: argparse.Namespace, database: str, faults: list[Fault], rows: Path, *, until: float, tell: Tell
) -> threading.Thread:
    """Play some faults on a database in a process of its own, in a mount namespace of its own where that is allowed."""
    command = [sys.executable, "-m", "tests.chaos", "--database", database, "--seed", str(given.seed)]
    command += ["--kills", str(given.kills), "--rows", str(rows), "--until", str(until)]
    command += [word for fault in faults for word in ("--fault", fault.slug)]
    command += ["--out", str(given.out)] if given.out else []
    if may_mount():
        command = ["unshare", "--mount", "--propagation", "private", *command]

    def run() -> None:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as lane:
            assert lane.stdout is not None
            for line in lane.stdout:
                tell(line.rstrip())

    thread = threading.Thread(target=run, name=f"lane {database}")
    thread.start()
    return thread


def may_mount() -> bool:
    """Whether a file system can be mounted that nobody else sees, and that is gone with our last process."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0


def main() -> int:
    given = arguments()
    if given.rows:
        play_lane(given)
        return 0
    begun = time.time()
    tell = Tell(begun)
    faults = chosen(given.fault)
    databases = [given.database] if given.database else ["sqlite", "postgres"]
    tell(f'seed {given.seed}: the same choices again with  make chaos ARGS="--seed {given.seed}"')
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    until = begun + given.minutes * 60
    files: list[Path] = []

    def lane(database: str, part: list[Fault]) -> threading.Thread:
        files.append(folder / f"{len(files)}.json")
        return start_lane(given, database, part, files[-1], until=until, tell=tell)

    for database in databases:
        if storms := [fault for fault in faults if fault.name in STORMS]:
            lane(database, storms).join()
    others = [fault for fault in faults if fault.name not in STORMS]
    for thread in [lane(database, others) for database in databases] if others else []:
        thread.join()
    rows: list[Row] = []
    for file in files:
        rows += rows_from(json.loads(file.read_text())) if file.exists() else []
    shutil.rmtree(folder)
    expected = len(faults) * len(databases)
    rows.sort(key=lambda row: (row.number, row.name, row.database))
    report = Report(given.seed, rows, (time.time() - begun) / 60)
    print("\n" + report.text())
    failed = [row for row in rows if row.failed]
    for row in failed:
        print(f'again: make chaos ARGS="--database {row.database} --fault {row.slug} --seed {given.seed}"')
    if len(rows) < expected:
        print(f"{expected - len(rows)} rows are missing: a lane died")
    if given.out:
        report.write(given.out)
    if given.write:
        report.replace_in()
    return 1 if failed or len(rows) < expected else 0


if __name__ == "__main__":
    sys.exit(main())
