"""Random numbers in kernels: splitmix64. Its state is one word, so that each device can have a stream of its own.

Not for secrets. The same word gives the same numbers on every machine.
"""

import numpy as np

from server.kernels.kernel import kernel

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_UNIT = 1.0 / 9007199254740992.0  # 2**-53: a double holds 53 bits.


@kernel
def mix(word):
    """Hash a uint64: each output bit depends on each input bit."""
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    return word ^ (word >> np.uint64(31))


@kernel
def advance(word):
    """The next state; its number is `mix` of it."""
    return word + _STEP


@kernel
def unit(word):
    """A float64 in (0, 1] from the state `word`. Never 0, so that its logarithm is finite."""
    return (np.float64(mix(word) >> np.uint64(11)) + 1.0) * _UNIT


@kernel
def seeded(seed, stream):
    """The first state of stream number `stream` (uint64) of `seed` (uint64): streams do not overlap in practice."""
    return mix(mix(seed + _STEP) ^ (stream * _MIX_1 + _STEP))
