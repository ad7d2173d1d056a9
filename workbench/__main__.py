"""The program, as console script and as `python -m workbench`: who ends it while it is still loading ends it in order.

It knows no command. Invariants: until the command line is loaded there is nothing that would have to be ended; from
then on all standard streams are open, whatever the caller closed.
"""

import os
import signal


def main() -> None:
    """Load the command line, which takes a moment, and leave all else to it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from server.system import standard_streams

    standard_streams.open_closed()
    from workbench.cli.app import main as obey

    obey()  # From where it can tell what a signal means, it takes them over.


def _leave(number: int, frame: object) -> None:
    """Without a word: an exception in the middle of an import would have some."""
    os._exit(0)


if __name__ == "__main__":
    main()
