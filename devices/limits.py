"""What the machine allows a fleet: open files and local ports. Each refusal names the number and the remedy."""

import resource
from pathlib import Path

DESCRIPTORS_BESIDE = 64
"""Open files that a fleet's process needs beside its sockets: pages, pipes, libraries."""
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class FleetFailed(Exception):
    """The fleet cannot do what was asked. The message is one line for a person."""


def raise_open_files(connections: int) -> int:
    """Let this process open as many sockets, raising the soft limit as far as need be. Returns the limit now.

    Raises FleetFailed when the hard limit is too low.
    """
    needed = connections + DESCRIPTORS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return soft
    if hard < needed:
        raise FleetFailed(
            f"{connections} connections need {needed} open files and this process may have {hard}: "
            f"{max(hard - DESCRIPTORS_BESIDE, 0)} connections fit; lower connections, or raise the limit (ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return needed


def check_ports(connections: int) -> None:
    """Raise FleetFailed when there are fewer local ports than connections to the one address of the server."""
    if not _PORT_RANGE.exists():
        return  # Not Linux: the dialer itself will hear of it.
    first, last = (int(word) for word in _PORT_RANGE.read_text().split())
    ports = last - first + 1
    if connections > ports:
        raise FleetFailed(
            f"{connections} connections need as many local ports and there are {ports}: lower connections, "
            f"or widen the range (sysctl -w net.ipv4.ip_local_port_range='10000 65535')"
        )
