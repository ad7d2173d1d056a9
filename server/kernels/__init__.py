"""The compiled stages: passes over arrays, and the layout of those arrays.

`layout` holds every dtype and imports no compiler, so that a window may read telemetry without one; `kernel` is
the one door to numba. Every kernel has a naive twin in the tests.
"""
