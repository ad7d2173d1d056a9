"""The clock and the limit on open files: the two things read from the operating system."""
