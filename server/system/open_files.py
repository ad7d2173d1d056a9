"""The limit on open files of this process, and so on its connections. The soft limit is often 1024."""

import resource

RESERVED_COUNT = 64
"""Files beside connections: listener, wake-ups, pages, pipes, epoll, and those of libraries."""
# The limit to assume where the system sets none, or a billion: more connections than one address has ports for, and
# small enough for a table with an entry per descriptor.
UNLIMITED_COUNT = 1_048_576


def allowed_count() -> int:
    """Files that this process may have open after `raise_to_hard`: the hard limit."""
    return _countable(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def granted_count() -> int:
    """Files that this process may have open now: the soft limit."""
    return _countable(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def connections_that_fit() -> int:
    """Connections that a process can hold under the hard limit."""
    return max(0, allowed_count() - RESERVED_COUNT)


def raise_to(file_count: int) -> int:
    """Let this process, and those it starts, open at least `file_count` files, if the hard limit allows it.

    Returns how many it may open now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(file_count, _countable(hard))
    if _countable(soft) >= wanted:
        return _countable(soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def raise_to_hard() -> int:
    """Let this process, and those it starts, open as many files as the hard limit allows. Returns how many."""
    return raise_to(allowed_count())


def _countable(limit: int) -> int:
    return UNLIMITED_COUNT if limit == resource.RLIM_INFINITY else min(limit, UNLIMITED_COUNT)
