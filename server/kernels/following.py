"""The layout of what a loop remembers of the connection whose journeys are noted, beside the rows of the journeys.

Imports no compiler. Journeys are known by numbers that count up; row of journey n is n % JOURNEY_ROWS. Invariant: the
journeys from `first` up to `end` are this loop's own and not over yet.
"""

import numpy as np

FOLLOWING = np.dtype(
    [
        ("slot", "i8"),  # Of the connection.
        ("first", "i8"),  # The oldest journey that is not over,
        ("end", "i8"),  # one past the newest, and
        ("read_end", "i8"),  # one past the newest that is decoded.
        ("received_count", "i8"),  # Placements of the connection that belong to older journeys.
        ("admitted_count", "i8"),  # The connection's, when its placements were last looked for.
    ],
    align=True,
)

MARK = np.dtype(
    [
        ("read_count", "i8"),  # Decoded when the loop has decoded so many reads,
        ("received_count", "i8"),  # admitted when it has judged so many placements of the connection,
        ("admitted_count", "i8"),  # and applied when it has applied so many of all.
    ],
    align=True,
)
"""When a journey comes to its next stage, in counts that hold wherever in its queue a placement stands."""
