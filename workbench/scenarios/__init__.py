"""What a run does: the scenario, its validation, its text, and the built-in scenarios."""
