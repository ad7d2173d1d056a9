"""The command line: options, help texts, exit codes, and the commands that start nothing else."""
