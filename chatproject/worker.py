"""`python -m chatproject.worker`: a worker, as `python -m celery --app chatproject worker` starts it, in less memory.

Celery's command line brings a shell for its own commands along, which each worker would hold for as long as it lives.
Celery's signals, exit codes and ways to end are the same here: it is its own worker program that runs.
"""

import argparse
import sys

from celery.utils.nodenames import default_nodename, host_format

from chatproject.celery import app


def main() -> int | None:
    """Work until a signal ends it, and return the exit code."""
    options = read_options(sys.argv[1:])
    # What Celery starts anew at SIGHUP: by this file's path, its neighbour celery.py would be taken for Celery.
    sys.argv[:] = sys.orig_argv[1:]
    # Runs live on the event loop and doorbells are heard where they are read: the pool is for what beat asks alone.
    # Workers need not know of one another, for each looks at the same rows.
    worker = app.Worker(
        hostname=host_format(default_nodename(options.hostname)),
        pool_cls="threads",
        queues=options.queues,
        concurrency=options.concurrency,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.start()
    code: int | None = worker.exitcode
    return code


def read_options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m chatproject.worker", description="Make answers.", allow_abbrev=False)
    parser.add_argument("--queues", default="runs,jobs", help="what to listen to (default: %(default)s)")
    parser.add_argument("--hostname", help="its name among the workers: %%h is the machine's (default: celery@%%h)")
    parser.add_argument("--concurrency", type=int, help="threads for what beat asks (default: one for each processor)")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
