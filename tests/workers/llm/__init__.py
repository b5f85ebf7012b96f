"""Tests of the language models. Whatever speaks HTTP here speaks it to a real server process."""
