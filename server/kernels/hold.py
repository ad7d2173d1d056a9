"""The layout of what a brake holds back in a loop, a row a stage.

Imports no compiler. Invariant: a stage whose `items` are not 0 has taken them up and not served them yet.
"""

import numpy as np

HOLD = np.dtype(
    [
        ("until_ns", "i8"),  # The stage is held back until then,
        ("items", "i8"),  # then serves so many items that it took up; 0: none.
        ("cost_ns", "i8"),  # Their added service time.
        ("left", "i8"),  # So many waited still when the last step was done.
        ("debt_ns", "i8"),  # What the next step pays beside its own.
    ],
    align=True,
)
