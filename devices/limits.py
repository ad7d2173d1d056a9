"""What the machine allows a fleet: open files and local ports. Errors name the numbers and the remedy."""

from pathlib import Path

from server.system import open_files

_PORTS_REMEDY = "widen the range of local ports (sysctl -w net.ipv4.ip_local_port_range='10000 65535')"
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class FleetFailed(Exception):
    """The fleet cannot do what was asked. The message is one line for the user."""


# Of a fleet behind a broker: four to the broker, and one of each to the server, to ask for the canvas.
BROKER_CONNECTIONS = 8


def require_broker_files() -> None:
    """Raise FleetFailed when the limit on open files is too low for a fleet behind a broker.

    The server has the same limit, and would reset the connections that ask for the canvas.
    """
    needed = BROKER_CONNECTIONS + open_files.RESERVED_COUNT
    allowed = open_files.raise_to(needed)
    if allowed < needed:
        raise FleetFailed(
            f"a fleet behind a broker needs {needed} open files and this process may have {allowed}; "
            f"raise the limit: ulimit -Hn {needed}"
        )


def raise_open_files(connections: int) -> int:
    """Let this process open this many sockets, raising the soft limit where needed. Returns the limit.

    Raises FleetFailed when the hard limit is too low.
    """
    needed = connections + open_files.RESERVED_COUNT
    allowed = open_files.raise_to(needed)
    if allowed < needed:
        raise FleetFailed(
            f"{connections} connections need {needed} open files and this process may have {allowed}: "
            f"{open_files.connections_that_fit()} connections fit; lower connections, or raise the limit (ulimit -Hn)"
        )
    return allowed


def fit_connections(connections: int) -> tuple[int, str]:
    """How many of these connections this process may have, and the remedy where that is fewer; else ""."""
    open_files_fit = open_files.connections_that_fit()
    fits = min(connections, open_files_fit, _count_ports())
    if fits == connections:
        return fits, ""
    if fits == open_files_fit:
        return fits, "raise the limit of open files (ulimit -Hn)"
    return fits, _PORTS_REMEDY


def _count_ports() -> int:
    if not _PORT_RANGE.exists():
        return 65_535  # Not Linux: connecting itself reports it.
    first, last = (int(word) for word in _PORT_RANGE.read_text().split())
    return last - first + 1


def check_ports(connections: int) -> None:
    """Raise FleetFailed when there are fewer local ports than connections to the one address of the server."""
    ports = _count_ports()
    if connections > ports:
        raise FleetFailed(
            f"{connections} connections need as many local ports and there are {ports}: "
            f"lower connections, or {_PORTS_REMEDY}"
        )
