"""Benchmarks: cases, each run against a counting-only sink and, if asked, peers. The door is `command.run_bench`."""
