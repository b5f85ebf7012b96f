"""Only actions write. One transaction each: the session's row is locked first, events are made inside, and what must be
told or rung follows the commit. The sync ones block: call them by `reading`, `writing` or `writing_briefly`. The async
ones do that themselves."""
