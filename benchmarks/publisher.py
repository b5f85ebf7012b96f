"""Tells a session's group about facts, as actions do: in the log, in one transaction, then published.

`python -m benchmarks.publisher SESSION_ID` reads lines of `{"frames": [{"data": {…}}, …]}` and answers each with a line
when they are on their way: the process that the sockets' own server is not busy with.
"""

import json
import sys
from uuid import UUID


def main(session_id: UUID) -> None:
    import django

    django.setup()
    from chat.actions.events import locked
    from chat.outbox import outbox

    for line in sys.stdin:
        with locked(session_id) as log:
            for frame in json.loads(line)["frames"]:
                log.append_event("state.updated", frame["data"])
        if not outbox.flush(30):
            raise TimeoutError("the frames are not out after 30 s")
        print("done", flush=True)


if __name__ == "__main__":
    main(UUID(sys.argv[1]))
