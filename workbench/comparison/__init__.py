"""Recorded runs compared: metrics of their steady states, and which of them differ by more than noise."""
