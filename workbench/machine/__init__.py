"""What this machine allows: cores, memory, containers, open files and installed programs."""
