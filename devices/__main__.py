"""A fleet's process in a session: reads its orders from standard input, tells what happens on standard output."""

import queue
import sys

from devices.config import StartFleet
from devices.limits import FleetFailed
from devices.run import Commands, Run
from server import control
from server.kernels.layout import State
from server.page import Page, fleet_sections


def main() -> int:
    """Run the fleet that the first line of standard input describes. Returns the exit code: 1 when it failed."""
    control.leave_signals_to_parent()
    start: StartFleet = control.read_start(StartFleet)
    page = Page.attach(start.telemetry_fd, fleet_sections())
    commands: Commands = queue.SimpleQueue()
    control.follow_commands(commands.put)
    try:
        Run(start, page, control.say, commands).run()
    except FleetFailed as failure:
        page["fleet"][0]["state"] = State.FAILED
        control.say(control.Failed(str(failure)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
