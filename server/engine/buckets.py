"""What becomes of half-empty token buckets when the rate limit of a running server changes.

A change gives no connection tokens that it did not have, and none waits longer for its next one than the new rate says.
"""

import numpy as np
from numpy.typing import NDArray

NO_TOKENS_NS = 1 << 62
"""`full_ns` of a viewer's bucket: it holds no token, whatever the limits are. Far from the end of int64, because the
kernels add to it."""


def refill(
    full_ns: NDArray[np.int64], before: tuple[int, int], after: tuple[int, int], now_ns: int
) -> NDArray[np.int64]:
    """When buckets will be full again (see kernels/admit) if each keeps its tokens, as far as the new one holds them.

    full_ns: any shape, 0 for a bucket that was never used, which stays full; NO_TOKENS_NS stays too. before, after:
    (token_ns, burst_ns).
    """
    (old_token_ns, old_burst_ns), (new_token_ns, new_burst_ns) = before, after
    old_burst, new_burst = old_burst_ns // old_token_ns, new_burst_ns // new_token_ns
    missing = np.clip((full_ns - now_ns) / old_token_ns, 0, old_burst)
    lacking = np.clip(new_burst - (old_burst - missing), 0, new_burst)
    refilled = now_ns + np.rint(lacking * new_token_ns).astype(np.int64)
    kept: NDArray[np.int64] = np.where((full_ns == 0) | (full_ns == NO_TOKENS_NS), full_ns, refilled)
    return kept
