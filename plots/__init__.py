"""The matplotlib panels, drawn by a process of their own into shared memory."""
