"""The obvious form of a schedule."""

import math

from devices.kernels.layout import Arrivals

MASK = 2**64 - 1


def naive_mix(word):
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & MASK
    return word ^ word >> 31


def naive_gap(kind, interval_ns, word, burst_ratio=4.0):
    def unit(state):
        return ((naive_mix(state) >> 11) + 1) / 2**53

    def advance(state):
        return state + 0x9E3779B97F4A7C15 & MASK

    if kind == Arrivals.PERIODIC:
        return interval_ns, word
    word = advance(word)
    if kind == Arrivals.POISSON:
        return int(-math.log(unit(word)) * interval_ns), word
    gap = interval_ns / burst_ratio
    if unit(word) * 32 <= 1:
        word = advance(word)
        gap += -math.log(unit(word)) * interval_ns * 32 * (1 - 1 / burst_ratio)
    return int(gap), word
