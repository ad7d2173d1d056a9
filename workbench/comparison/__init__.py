"""Recorded runs held against each other: figures of their steady states, and what differs by more than noise."""
