"""Recorded sessions: one file a run, written while it goes on and read by everything that looks at it later."""
