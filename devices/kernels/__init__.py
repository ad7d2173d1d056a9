"""The compiled passes of a fleet: schedule, paint, frame, see, and the one that moves bytes.

All but `sockets` are sans-I/O. `layout` holds every dtype; kernels that call each other stay in this package.
"""
