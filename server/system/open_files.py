"""How many files this process may have open, and so how many connections it can hold.

A connection is an open file, and the system's first answer is often 1024. Invariant: what is asked for beyond the hard
limit is never had, so whoever needs more than `allowed_count` says so before it begins.
"""

import resource

RESERVED_COUNT = 64
"""Files beside connections: listener, bells, pages, pipes, epoll, whatever libraries open."""
UNLIMITED_COUNT = 1_048_576
"""What counts as the limit where the system sets none, or one of a billion: more connections than one address has
ports for, and little enough that a table with a place for each descriptor costs nothing to speak of."""


def allowed_count() -> int:
    """Files that this process may have open once it asks for all of them: the hard limit."""
    return _countable(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def granted_count() -> int:
    """Files that this process may have open without asking for more: the soft limit."""
    return _countable(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def connections_that_fit() -> int:
    """Connections that a process can hold under the hard limit."""
    return max(0, allowed_count() - RESERVED_COUNT)


def raise_to(file_count: int) -> int:
    """Let this process, and those it starts, open at least so many files, as far as the hard limit goes.

    Returns how many it may open now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(file_count, _countable(hard))
    if _countable(soft) >= wanted:
        return _countable(soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def raise_to_hard() -> int:
    """Let this process, and those it starts, open as many files as it may have. Returns how many."""
    return raise_to(allowed_count())


def _countable(limit: int) -> int:
    return UNLIMITED_COUNT if limit == resource.RLIM_INFINITY else min(limit, UNLIMITED_COUNT)
