"""The compiled passes of a fleet: schedules, patterns, frames, viewers, and the pass over its sockets.

Only `sockets` and `messages` make system calls. `layout` holds every dtype. Kernels that call each other stay in this
package, because numba's cache does not see a change in another one.
"""
