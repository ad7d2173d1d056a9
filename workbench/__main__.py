"""The program, as console script and as `python -m workbench`. It knows no command.

A signal during the imports ends it silently. All standard streams are open before the command line runs, whatever the
parent process closed, and the project's packages are not hidden by modules of the same name.
"""

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("server", "devices", "plots")


def main() -> None:
    """Load the command line and run it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    # numpy's linear algebra is not used. Its threads cost memory, and if a limit allows no more threads, OpenBLAS ends
    # the process that loads it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    hiding = next(filter(None, map(_hiding, _PACKAGES)), "")
    if hiding:
        print(hiding, file=sys.stderr)
        sys.exit(2)
    from server.system import standard_streams

    standard_streams.open_closed()
    from workbench.cli.app import main as run

    run()  # It installs its own signal handlers.


def _hiding(package: str) -> str:
    """The line about a module that hides a package of this project; "" if there is none."""
    spec = find_spec(package)
    place = Path(spec.origin).resolve() if spec is not None and spec.origin else None
    if place is None or place.parent == _ROOT / package:
        return ""
    place = place.parent if place.name == "__init__.py" else place
    return f"{place} hides this program's package {package!r}; rename it, or keep its folder off Python's path"


def _leave(number: int, frame: object) -> None:
    # Not by an exception: in the middle of an import it would print a traceback.
    os._exit(0)


if __name__ == "__main__":
    main()
