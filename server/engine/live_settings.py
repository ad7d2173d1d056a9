"""Settings that change while a server runs: which may, and what becomes of buckets that are half empty then.

Nothing here knows a loop or a clock. Invariant: a change gives no connection tokens that it did not have, and none
waits longer for its next one than the new rate says.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.config import ServerConfig

LIVE_SETTINGS = ("rate_per_s", "burst", "tick_ms", "tick_ms_max", "stall_s", "evict_after_s", "brakes")
"""Fields of ServerConfig that may change while it runs. All others stay as the server was started."""
NEVER_NS = 1 << 62
"""When the bucket of one that may only look on will be full again: it holds no token, whatever the limits are."""


def merge_live(running: ServerConfig, wanted: ServerConfig) -> ServerConfig:
    """The settings of a running server with those of `wanted` that may change."""
    return msgspec.structs.replace(running, **{name: getattr(wanted, name) for name in LIVE_SETTINGS})


def refill(
    full_ns: NDArray[np.int64], before: tuple[int, int], after: tuple[int, int], now_ns: int
) -> NDArray[np.int64]:
    """When buckets will be full again (see kernels/admit) if each keeps its tokens, as far as the new one holds them.

    full_ns: any shape, 0 for a bucket that was never used, which stays full; NEVER_NS stays too. before, after:
    (token_ns, burst_ns).
    """
    (old_token_ns, old_burst_ns), (new_token_ns, new_burst_ns) = before, after
    old_burst, new_burst = old_burst_ns // old_token_ns, new_burst_ns // new_token_ns
    missing = np.clip((full_ns - now_ns) / old_token_ns, 0, old_burst)
    lacking = np.clip(new_burst - (old_burst - missing), 0, new_burst)
    refilled = now_ns + np.rint(lacking * new_token_ns).astype(np.int64)
    kept: NDArray[np.int64] = np.where((full_ns == 0) | (full_ns == NEVER_NS), full_ns, refilled)
    return kept
