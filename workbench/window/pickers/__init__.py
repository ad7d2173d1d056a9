"""Choosing a scenario: cards with pictures, at the start and at any time."""
