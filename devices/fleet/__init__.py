"""The fleet without I/O: what devices send when, what they paint, and what viewers check."""
