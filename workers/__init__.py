"""The work: context, LLM calls, publishing. Knows nothing of sockets."""
