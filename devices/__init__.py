"""The simulated fleet: who sends what when, what it paints, and what it sees. Sans-I/O but for `dialer`."""
