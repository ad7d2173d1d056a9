"""Facts about this machine and the user's environment, read from the system. `doctor` judges them.

Reading changes nothing, except that the folder of compiled kernels is created. A limit of a control group, and so of a
container, is the least of the group's own and those of all groups around it, in both versions of control groups.
"""

import os
import platform
import resource
import select
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from server.bridge.broker import kinds_installed
from server.kernels.cache import compiled_count, find_place
from server.system import open_files
from workbench.errors import UserError

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_MEMORY = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One machine."""

    python: tuple[int, int, int]
    platform: str
    """`platform.platform()`."""
    core_count: float
    """Cores that this process may use, limited by a container's quota."""
    memory_bytes: int
    memory_bytes_available: int | None
    """None if the system does not say."""
    memory_limit_bytes: int
    """`memory_bytes`, limited by a container."""
    open_files_soft: int
    """The soft limit. The workbench raises it to the hard one."""
    open_files_hard: int
    """The hard limit; see `server.system.open_files`."""
    address_space_bytes: int | None
    """Address space of a process, `ulimit -v`; None: no limit."""
    file_bytes: int | None
    """Size of a file, `ulimit -f`, and shared memory is a file; None: no limit."""
    process_count: int | None
    """Processes and threads of this user, `ulimit -u`; None: no limit."""
    ports: tuple[int, int] | None
    """First and last ephemeral port; None if the system does not say."""
    display: str
    """Where a window would open, for example "DISPLAY=:0"; "" for nowhere."""
    has_epoll: bool
    has_memfd: bool
    """Whether shared pages are files in memory; otherwise they are unlinked files in the temporary folder."""
    kernels_folder: str
    """Where compiled kernels are kept; "" if no folder is writable."""
    kernels_fault: str
    """Why they are not kept in the preferred folder; "" if they are."""
    compiled_count: int
    brokers: tuple[str, ...]
    """Kinds of brokers found, in order of preference."""


def read_facts() -> Facts:
    """The facts of this machine."""
    # This creates the folder if needed: whether it is writable is only known then.
    kernels = find_place()
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Facts(
        python=(sys.version_info.major, sys.version_info.minor, sys.version_info.micro),
        platform=platform.platform(),
        core_count=usable_core_count(),
        memory_bytes=memory_bytes,
        memory_bytes_available=memory_available_of(_text(_MEMORY)),
        memory_limit_bytes=min(memory_bytes, limits().memory_bytes or memory_bytes),
        open_files_soft=open_files.granted_count(),
        open_files_hard=open_files.allowed_count(),
        address_space_bytes=_limit(resource.RLIMIT_AS),
        file_bytes=_limit(resource.RLIMIT_FSIZE),
        process_count=None if os.geteuid() == 0 else _limit(resource.RLIMIT_NPROC),  # It does not apply to root.
        ports=ports_of(_text(_PORT_RANGE)),
        display=display_of(os.environ, sys.platform),
        has_epoll=hasattr(select, "epoll"),
        has_memfd=hasattr(os, "memfd_create"),
        kernels_folder=str(kernels.folder or ""),
        kernels_fault=kernels.fault,
        compiled_count=compiled_count(kernels.folder) if kernels.folder is not None else 0,
        brokers=kinds_installed(),
    )


def memory_available_of(meminfo: str) -> int | None:
    """MemAvailable of /proc/meminfo in bytes; None if it is missing."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def ports_of(port_range: str) -> tuple[int, int] | None:
    """First and last port of the text of ip_local_port_range; None if it is empty."""
    words = port_range.split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else None


def display_of(environment: "os._Environ[str] | dict[str, str]", system: str) -> str:
    """Where a window would open; "" for nowhere. `system`: `sys.platform`."""
    chosen = environment.get("SDL_VIDEODRIVER")
    if chosen:
        return "" if chosen in ("dummy", "offscreen") else f"SDL_VIDEODRIVER={chosen}"
    for name in ("WAYLAND_DISPLAY", "DISPLAY"):
        if environment.get(name):
            return f"{name}={environment[name]}"
    return "the desktop" if system == "darwin" else ""


def usable_core_count() -> float:
    """Cores that this process may use, limited by a container's quota."""
    # The affinity, not the number of cores: a scheduler may grant fewer.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, limits().core_quota or usable)


def _limit(kind: int) -> int | None:
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft


_MEMBERSHIP = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
# Version 1 has no word for "no limit": it reports a number larger than any memory.
_UNLIMITED_BYTES = 1 << 60


@dataclass(frozen=True, slots=True)
class Limits:
    """What a control group leaves a process; None: no limit."""

    core_quota: float | None
    """CPU time per wall time: 1.5 is one and a half cores."""
    memory_bytes: int | None


def limits() -> Limits:
    """The current limits of this process."""
    return limits_of(_text(_MEMBERSHIP), _ROOT)


def limits_of(membership: str, root: Path) -> Limits:
    """The limits of a process whose /proc/PID/cgroup holds `membership`; the groups' folders are below `root`."""
    quotas: list[float] = []
    memories: list[int] = []
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        for folder in _folders(root, controllers, path):
            quotas += _quotas_in(folder)
            memories += _memories_in(folder)
    return Limits(min(quotas, default=None), min(memories, default=None))


def _folders(root: Path, controllers: str, path: str) -> Iterator[Path]:
    """The folders of a group and of those around it."""
    # Version 2 has one tree without controller names; where version 1 is in use, too, it limits nothing.
    # In a container the path may be the host's: then only the top folder exists.
    tops = {root / name for name in (controllers, *controllers.split(","))}
    for top in tops:
        group = top / path.strip("/")
        yield top
        while group != top and top in group.parents:
            yield group
            group = group.parent


def _quotas_in(folder: Path) -> list[float]:
    quota, *period = _text(folder / "cpu.max").split() or [_text(folder / "cpu.cfs_quota_us").strip()]
    period = period or [_text(folder / "cpu.cfs_period_us").strip()]
    if not quota.isdecimal() or not period[0].isdecimal():  # "max", "-1", or no such file.
        return []
    return [int(quota) / int(period[0])]


def _memories_in(folder: Path) -> list[int]:
    texts = (_text(folder / name).strip() for name in ("memory.max", "memory.limit_in_bytes"))
    return [int(text) for text in texts if text.isdecimal() and int(text) < _UNLIMITED_BYTES]


def _text(path: Path) -> str:
    """The text of a file of the kernel; "" if there is none or it is not readable."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


# Connections kept free for other clients than the fleet: painting by hand, web pages, other fleets.
GUEST_COUNT = 32
# Open files of a process that are not available to a fleet.
RESERVED_COUNT = open_files.RESERVED_COUNT + GUEST_COUNT


def connections_that_fit() -> int:
    """Connections that a fleet may have under the hard limit on open files."""
    return max(0, open_files.connections_that_fit() - GUEST_COUNT)


def require_connections(connection_count: int, key: str) -> None:
    """Raise UserError if this many connections do not fit. `key`: the setting that asks for them."""
    fit = connections_that_fit()
    if connection_count > fit:
        remedy = f"lower it to {fit}, or raise the limit" if fit else "raise the limit"
        raise UserError(
            f"{key} is {connection_count:,}, but the open-file limit of {open_files.allowed_count():,} allows {fit:,} "
            f"connections; {remedy}: ulimit -Hn {connection_count + RESERVED_COUNT}"
        )
