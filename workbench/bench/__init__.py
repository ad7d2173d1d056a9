"""Benchmarks: cases, each run against a counting-only sink and, if asked, peers. Entry point: `command.run_bench`."""
