"""Choosing a scenario from cards with pictures, at the start and at any time."""
