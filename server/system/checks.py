"""The switch for checks of the server's own invariants that cost too much to be made at each tick of a busy server."""

import os

ARE_THOROUGH = os.environ.get("PIXEL_CANVAS_CHECKS") == "thorough"
"""Whether to look at every connection and tile at each tick. Set by tests, and inherited by processes they start."""
