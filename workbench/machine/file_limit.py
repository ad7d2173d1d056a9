"""How many connections a session may have, whose server and fleet hold one end of each.

How many files a process may have open is `server.system.open_files`'s to say. Invariant: a scenario that does not
fit is refused before anything is started, with the number that does fit.
"""

from server.system import open_files
from workbench.errors import UserError

GUEST_COUNT = 32
"""Connections left free for others than the fleet: a person's hand, web pages, other fleets."""
RESERVED_COUNT = open_files.RESERVED_COUNT + GUEST_COUNT
"""Files of a process that a session's fleet leaves free."""


def connections_that_fit() -> int:
    """Connections that a session's fleet may have under the hard limit."""
    return max(0, open_files.connections_that_fit() - GUEST_COUNT)


def require(connection_count: int, key: str) -> None:
    """Raise UserError when so many connections do not fit; `key` names the setting that asks for them."""
    fit = connections_that_fit()
    if connection_count > fit:
        remedy = f"lower it to {fit}, or raise the limit" if fit else "raise the limit"
        raise UserError(
            f"{key} is {connection_count:,}, but the open-file limit of {open_files.allowed_count():,} allows {fit:,} "
            f"connections; {remedy}: ulimit -Hn {connection_count + RESERVED_COUNT}"
        )
