"""The terminal client: a person's end of the wire, and nothing of the server's."""
