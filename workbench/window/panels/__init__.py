"""The matplotlib panels in the window: which are shown, over which time, and their picture."""
