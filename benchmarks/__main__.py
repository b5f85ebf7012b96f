"""`make bench`: measure this chat server and its peers side by side (`make bench NAME=send` for one of them).

Exits with 1 where a peer is missing, an answer is wrong or something fails, and never because something is slow.
"""

import argparse
import asyncio
import importlib
import os
import sys
import time
import traceback
from typing import Any

from benchmarks import picture, report, rivals
from benchmarks.bench import Bench
from benchmarks.figures import Figure

NAMES = ("send", "crowd", "generations", "fanout", "memory", "reconnect", "stop", "tools", "page")
BUSY = 0.9  # a load client that is so busy may have measured itself


def main() -> int:
    options = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").partition("\n")[0])
    options.add_argument("names", nargs="*", choices=[*NAMES, []], help="which of them; else all")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--much", type=float, default=1.0, help="how often and how long: 0.1 for a quick look")
    options.add_argument("--write", action="store_true", help="put what is known into docs/, if nothing fails")
    given = options.parse_args()
    rivals.prepare()
    print(f"{report.machine()}; load {os.getloadavg()[0]:.1f}", flush=True)
    begin, told, failed = time.monotonic(), list[str](), list[str]()
    for name in given.names or NAMES:
        try:
            told.append(_measure(name, given))
        except Exception:
            traceback.print_exc()
            failed.append(name)
    if given.write and not failed:
        report.write(report.load())
        picture.save(report.load())
    print("", *told, sep="\n")
    print(f"\n{time.monotonic() - begin:.0f} s. {'Failed: ' + ', '.join(failed) if failed else 'All ran.'}")
    return 1 if failed else 0


def _measure(name: str, given: argparse.Namespace) -> str:
    """Measure, print it as rows, keep it, and give it as a line of JSON."""
    benchmark: Any = importlib.import_module(f"benchmarks.{name}")
    load = os.getloadavg()[0]
    with Bench(rounds=given.rounds, much=given.much) as bench:
        figures: list[Figure] = asyncio.run(benchmark.run(bench))
    print(f"\n{name}: {benchmark.TITLE}\n{report.rows(figures)}", flush=True)
    rounds = max(len(figure.rounds) for figure in figures)
    facts = {"machine": report.machine(), "rounds": rounds, "much": given.much}
    facts |= {"load": load, "client_share": bench.busiest_client}
    if bench.busiest_client > BUSY:
        print(f"  The load client was {bench.busiest_client:.0%} busy: it may have been the bound.", flush=True)
    report.save(name, benchmark.TITLE, figures, facts)
    return report.as_json(name)


if __name__ == "__main__":
    sys.exit(main())
