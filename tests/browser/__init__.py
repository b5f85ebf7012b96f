"""The chat page in a real browser, on a stack as `make run` starts it."""
