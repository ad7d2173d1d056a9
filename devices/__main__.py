"""The process of a fleet in a session: commands on standard input, events on standard output.

It compiles its kernels while it waits for the first command, which comes when the server listens: on a new machine both
processes compile at the same time.
"""

import queue
import sys
import threading

from devices.config import FleetCommand, StartFleet
from devices.limits import FleetFailed
from devices.run import Commands, Run
from devices.warm import warm_kernels
from server.ipc import control
from server.ipc.page import Page, fleet_sections
from server.kernels.kernel import compile_all
from server.kernels.layout import State
from server.system import standard_streams


def _report(done: int, total: int, name: str) -> None:
    control.say(control.Progress(f"compiling {name}" if name else "compiled", done, total))


def _note(text: str) -> None:
    control.say(control.News(text))


def main() -> int:
    """Run the fleet that the first line of standard input describes. Returns the exit code: 1 when it failed."""
    standard_streams.open_closed()
    control.leave_signals_to_parent()
    # A daemon, so that a parent that ends during compilation does not have to wait for it.
    early = threading.Thread(target=compile_all, args=(warm_kernels(), _report, _note), name="compiler", daemon=True)
    early.start()
    start: StartFleet = control.read_start(StartFleet)
    page = Page.attach(start.telemetry_fd, fleet_sections())
    commands: Commands = queue.SimpleQueue()
    control.follow_commands(commands.put, FleetCommand)
    early.join()
    try:
        Run(start, page, control.say, commands).run()
    except FleetFailed as failure:
        page["fleet"][0]["state"] = State.FAILED
        control.say(control.Failed(str(failure)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
