"""The process of hostile clients: commands on standard input, events on standard output.

It connects to this machine only, with a bounded number of connections for a bounded time: a server on another machine
is refused before any connection is made.
"""

import ipaddress
import queue
import sys

from devices.hostile.config import StartHostile
from devices.hostile.counters import hostile_sections
from devices.hostile.pool import HostilePool
from server.ipc import control
from server.ipc.page import Page
from server.kernels.layout import State
from server.system import clock, open_files, standard_streams

# Longest wait for a ready socket; commands and due members wait no longer.
TURN_MS = 10


def main() -> int:
    """Run what the first line of standard input describes. Returns the exit code: 1 for a server elsewhere."""
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
    pool = HostilePool(start.config, (start.host, start.port), start.path, start.seed, page["hostile"], begun_ns)
    process["state"] = State.RUNNING
    until_ns = begun_ns + int(start.config.seconds * 1e9)
    while commands.empty() and now_ns < until_ns:
        pool.drive(now_ns, TURN_MS)
        now_ns = clock.now_ns()
        process["cpu_ns"] = clock.process_cpu_ns()
        process["resident_bytes"] = clock.resident_bytes()
    pool.close()
    process["state"] = State.STOPPED
    commands.get()  # A process that ends by itself counts as failed, so wait for Stop.
    return 0


def is_this_machine(host: str) -> bool:
    """Whether the host is a numeric loopback address. Names are not resolved."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
