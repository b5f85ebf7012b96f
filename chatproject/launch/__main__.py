"""Start the stack, say one line when it is ready, keep it alive, stop it."""

import argparse
import contextlib
import os
import sys

from chatproject.launch.lifeline import Parent
from chatproject.launch.plan import Plan, StartFailed, check_port, claim_data_folder, clear_leftovers, read_plan
from chatproject.launch.supervisor import Stopped, Supervisor, say


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m chatproject.launch", description=__doc__)
    arguments.add_argument("--parent", type=int, help="stop when this process (make) is gone; default: our parent")
    parent = Parent(arguments.parse_args().parent)
    try:
        plan = read_plan(os.environ)
        with claim_data_folder(plan):
            check_port(plan)
            clear_leftovers(plan)
            run(plan, parent)
    except StartFailed as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:  # before anything was started
        pass
    return 0


def run(plan: Plan, parent: Parent) -> None:
    supervisor = Supervisor(plan, parent)
    supervisor.listen()
    try:
        supervisor.start()
        hint = " (sign in: demo / demo)" if plan.local else ""
        with contextlib.suppress(OSError):
            print(f"Chat is ready at {plan.url}{hint}", flush=True)
        supervisor.keep()
    except Stopped:
        pass
    finally:
        supervisor.stop()


if __name__ == "__main__":
    sys.exit(main())
