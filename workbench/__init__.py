"""The workbench: command line, scenarios, the session that wires the processes, the window, and recordings."""
