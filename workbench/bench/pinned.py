"""Runs a module of this project on one core: `python -m workbench.bench.pinned CORE NICE MODULE [WORDS...]`.

The core is given before anything is imported, so that every thread that the module starts stays there too. CORE "-"
leaves the choice to the system. With a NICE above 0 a burner takes what the module leaves of the core.
"""

import os
import runpy
import sys

from workbench.bench.burner import start_burner


def main() -> None:
    """Take the core and the niceness, then become the module."""
    core, nice, module, *words = sys.argv[1:]
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    if int(nice) > 0:
        start_burner()
        os.nice(int(nice))
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
