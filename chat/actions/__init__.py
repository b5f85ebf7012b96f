"""Only actions write. One transaction each: the session's row is locked first, events are made inside, and what must be
told or rung follows the commit. They are synchronous: call them from a database thread."""
