"""Little-endian numbers in bytes, as int64. The caller has checked that the bytes are there."""

import numpy as np

from server.kernels.kernel import kernel


@kernel
def read_u16(buffer, at):
    """A little-endian u16 as int64. `buffer`: (>= at + 2,) u1."""
    return np.int64(buffer[at]) | np.int64(buffer[at + 1]) << 8


@kernel
def read_u32(buffer, at):
    """A little-endian u32 as int64. `buffer`: (>= at + 4,) u1."""
    return read_u16(buffer, at) | read_u16(buffer, at + 2) << 16
