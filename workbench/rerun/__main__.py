"""The process that places a recording's arrivals in a session: `python -m workbench.rerun FILE`.

Like the process of a fleet: commands on standard input, events on standard output.
"""

import queue
import sys

from devices.config import FleetCommand, StartFleet
from server.ipc import control
from server.ipc.page import Page, fleet_sections
from server.kernels.layout import State
from server.system import standard_streams
from workbench.errors import CommandError
from workbench.recording.reader import Recording
from workbench.rerun.playback import Commands, Playback


def main() -> int:
    """Place the arrivals of the file. Returns the exit code: 1 on failure."""
    standard_streams.open_closed()
    control.leave_signals_to_parent()
    start: StartFleet = control.read_start(StartFleet)
    page = Page.attach(start.telemetry_fd, fleet_sections())
    commands: Commands = queue.SimpleQueue()
    control.follow_commands(commands.put, FleetCommand)
    try:
        with Recording.open(sys.argv[1]) as recording:
            Playback(start, page, recording, control.say, commands).run()
    except CommandError as failure:
        page["fleet"][0]["state"] = State.FAILED
        control.say(control.Failed(str(failure)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
