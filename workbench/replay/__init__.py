"""A recording played as a session: the window, the panels and the figures read it like a live run."""
