"""Tests of the work: they mirror workers/."""
