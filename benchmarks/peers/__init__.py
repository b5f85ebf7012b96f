"""What users would pick instead: each with its small app, its pins, and an environment made at its first use."""
