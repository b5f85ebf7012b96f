"""The conversation: rows, actions and doors. Knows nothing of LLMs."""
