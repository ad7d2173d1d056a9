"""The workbench: command line, scenarios, the session that wires the processes, and the window."""
