"""This server beside what one would pick instead, measured in one run (docs/performance.md)."""
