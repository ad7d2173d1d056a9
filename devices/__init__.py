"""The simulated fleet: who sends what when, what it paints, and what it sees.

No I/O but in `client`, `sockets`, `mqtt` and `hostile`, and the compiled passes that they call.
"""
