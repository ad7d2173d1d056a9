"""How many open files, and so connections, a process of a session may hold.

Invariant: a scenario that does not fit is refused before anything is started, with the number that does fit.
"""

import resource

from workbench.errors import UserError

RESERVED_COUNT = 96
"""Files that a process opens beside its connections: pages, pipes, libraries, the compiled-kernel cache, epoll."""


def raise_to_hard() -> int:
    """Let this process, and those it starts, open as many files as the system allows. Returns that limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return _countable(hard)


def connections_that_fit() -> int:
    """Connections that a process under the hard limit can hold."""
    return max(0, _countable(resource.getrlimit(resource.RLIMIT_NOFILE)[1]) - RESERVED_COUNT)


def require(connection_count: int, key: str) -> None:
    """Raise UserError when so many connections do not fit; `key` names the setting that asks for them."""
    fit = connections_that_fit()
    if connection_count > fit:
        raise UserError(
            f"{key} is {connection_count:,}, but the open-file limit of {fit + RESERVED_COUNT:,} allows {fit:,} "
            f"connections; lower it to {fit}, or raise the limit: ulimit -Hn {connection_count + RESERVED_COUNT}"
        )


def _countable(limit: int) -> int:
    return 2**31 - 1 if limit == resource.RLIM_INFINITY else limit
