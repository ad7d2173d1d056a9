"""What is read from the operating system: clocks, limits, standard streams, and a switch for checks."""
