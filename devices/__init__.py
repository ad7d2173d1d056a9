"""The simulated fleet: who sends what when, what it paints, and what it sees.

Sans-I/O but for `greeting`, `wire` and what is above it, and the compiled passes that they call.
"""
