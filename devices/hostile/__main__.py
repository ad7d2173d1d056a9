"""The process of those who misbehave beside a fleet: orders on standard input, what happens on standard output.

It goes to this machine only, with a bounded number of connections for a bounded time. Invariant: a server on another
machine is refused before anything is dialled.
"""

import ipaddress
import queue
import sys

from devices.hostile.mob import HostilePool
from devices.hostile.orders import StartHostile
from devices.hostile.tally import hostile_sections
from server.ipc import control
from server.ipc.page import Page
from server.kernels.layout import State
from server.system import clock, open_files, standard_streams

TURN_MS = 10
"""Commands wait no longer, nor does who is to go on."""


def main() -> int:
    """Misbehave as the first line of standard input says. Returns the exit code: 1 for a server elsewhere."""
    standard_streams.open_closed()
    control.leave_signals_to_parent()
    start: StartHostile = control.read_start(StartHostile)
    page = Page.attach(start.page_fd, hostile_sections())
    commands: queue.SimpleQueue[control.Stop] = queue.SimpleQueue()
    control.follow_commands(commands.put, control.Stop)
    process = page["process"][0]
    if not is_this_machine(start.host):
        process["state"] = State.FAILED
        control.say(control.Failed(f"{start.host} is another machine; hostile clients go to 127.0.0.1 or ::1 only"))
        return 1
    open_files.raise_to(start.config.connections + open_files.RESERVED_COUNT)
    begun_ns = now_ns = clock.now_ns()
    mob = HostilePool(start.config, (start.host, start.port), start.path, start.seed, page["hostile"], begun_ns)
    process["state"] = State.RUNNING
    until_ns = begun_ns + int(start.config.seconds * 1e9)
    while commands.empty() and now_ns < until_ns:
        mob.drive(now_ns, TURN_MS)
        now_ns = clock.now_ns()
        process["cpu_ns"] = clock.process_cpu_ns()
        process["resident_bytes"] = clock.resident_bytes()
    mob.close()
    process["state"] = State.STOPPED
    commands.get()  # Who ends by itself is taken to have failed.
    return 0


def is_this_machine(host: str) -> bool:
    """Whether the address is a loopback one, as a number; a name is not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
