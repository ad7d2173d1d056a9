"""The program, as console script and as `python -m workbench`: who ends it while it is still loading ends it in order.

It knows no command. Invariants: until the command line is loaded there is nothing that would have to be ended; from
then on all standard streams are open, whatever the caller closed, and the project's packages are the project's own.
"""

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("server", "devices", "plots")


def main() -> None:
    """Load the command line, which takes a moment, and leave all else to it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    # numpy's linear algebra is not used. Its threads would cost each process memory, and where a limit allows no more
    # threads, it interrupts the process that loads it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    hiding = next(filter(None, map(_hiding, _PACKAGES)), "")
    if hiding:
        print(hiding, file=sys.stderr)
        sys.exit(2)
    from server.system import standard_streams

    standard_streams.open_closed()
    from workbench.cli.app import main as obey

    obey()  # From where it can tell what a signal means, it takes them over.


def _hiding(package: str) -> str:
    """What is loaded in place of a package of this project, in a line; "" when nothing is."""
    spec = find_spec(package)
    place = Path(spec.origin).resolve() if spec is not None and spec.origin else None
    if place is None or place.parent == _ROOT / package:
        return ""
    place = place.parent if place.name == "__init__.py" else place
    return f"{place} hides this program's package {package!r}; rename it, or keep its folder off Python's path"


def _leave(number: int, frame: object) -> None:
    """Without a word: an exception in the middle of an import would have some."""
    os._exit(0)


if __name__ == "__main__":
    main()
