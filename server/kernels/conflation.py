"""What a loop keeps of the frames that it has conflated. Imports no compiler.

Invariant: the frame of entry n stands in the n-th part of `conflated`.
"""

import numpy as np

CONFLATION = np.dtype(
    [
        ("since", "i8"),  # Changes of the whole canvas after this tick,
        ("until", "i8"),  # up to this one,
        ("start", "i8"),  # as a frame from here
        ("end", "i8"),  # to here of `conflated`,
        ("pixel_count", "i8"),
    ],
    align=True,
)
"""A frame that all who lack the same get: those who lag, and those whose interval is longer than a tick."""
CONFLATIONS = 8
"""Frames kept at once: viewers of unlike intervals and ages come in any order, and an encoding for each costs more
than its send."""
