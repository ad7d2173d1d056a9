"""What this machine and this user's environment are, read once. Judges nothing: that is `doctor`'s part.

Invariant: reading changes nothing but for making the folder of compiled kernels, and starts no compiler and no window.
"""

import os
import platform
import resource
import select
import sys
from dataclasses import dataclass
from pathlib import Path

from server.bridge.broker import kinds_installed
from server.kernels.cache import compiled_count, find_place
from server.system import open_files
from workbench.machine import cgroup

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_MEMORY = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A machine as the doctor looks at it."""

    python: tuple[int, int, int]
    platform: str
    """As `platform.platform()` tells it."""
    core_count: float
    """Cores that this process may use, a container's quota taken into account."""
    memory_bytes: int
    memory_bytes_available: int | None
    """None where the system does not tell."""
    memory_limit_bytes: int
    """What a container leaves of `memory_bytes`."""
    open_files_soft: int
    """What a process may have open unless it asks for more, as the workbench does."""
    open_files_hard: int
    """What a process may have open; see `server.system.open_files`."""
    address_space_bytes: int | None
    """What a process may take of memory, `ulimit -v`; None: as much as there is."""
    file_bytes: int | None
    """How large a file may get, `ulimit -f`, and shared memory is one; None: as large as there is room for."""
    process_count: int | None
    """How many processes and threads this user may have, `ulimit -u`; None: any number."""
    ports: tuple[int, int] | None
    """First and last ephemeral port; None where the system does not tell."""
    display: str
    """Where a window would appear, for instance "DISPLAY=:0"; empty for nowhere."""
    has_epoll: bool
    has_memfd: bool
    """Whether shared pages are files in memory; else they are unlinked files in the temporary folder."""
    kernels_folder: str
    """Where compiled kernels are kept; empty when no place can be written to."""
    kernels_fault: str
    """Why they are not kept where they should be; "" when they are."""
    compiled_count: int
    brokers: tuple[str, ...]
    """Kinds of brokers found, the preferred one first."""


def read_facts() -> Facts:
    """The facts of the machine that this runs on."""
    kernels = find_place()
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Facts(
        python=(sys.version_info.major, sys.version_info.minor, sys.version_info.micro),
        platform=platform.platform(),
        core_count=usable_core_count(),
        memory_bytes=memory_bytes,
        memory_bytes_available=memory_available_of(_text(_MEMORY)),
        memory_limit_bytes=min(memory_bytes, cgroup.limits().memory_bytes or memory_bytes),
        open_files_soft=open_files.granted_count(),
        open_files_hard=open_files.allowed_count(),
        address_space_bytes=_limit(resource.RLIMIT_AS),
        file_bytes=_limit(resource.RLIMIT_FSIZE),
        process_count=None if os.geteuid() == 0 else _limit(resource.RLIMIT_NPROC),  # It does not bind root.
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
    """Bytes that /proc/meminfo calls available; None when it does not say."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def ports_of(port_range: str) -> tuple[int, int] | None:
    """First and last port of ip_local_port_range's text; None when it is empty."""
    words = port_range.split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else None


def display_of(environment: "os._Environ[str] | dict[str, str]", system: str) -> str:
    """Where a window would appear; empty for nowhere. `system` is as `sys.platform`."""
    chosen = environment.get("SDL_VIDEODRIVER")
    if chosen:
        return "" if chosen in ("dummy", "offscreen") else f"SDL_VIDEODRIVER={chosen}"
    for name in ("WAYLAND_DISPLAY", "DISPLAY"):
        if environment.get(name):
            return f"{name}={environment[name]}"
    return "the desktop" if system == "darwin" else ""


def usable_core_count() -> float:
    """Cores that this process may use, a container's quota taken into account."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, cgroup.limits().core_quota or usable)


def _limit(kind: int) -> int | None:
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft


def _text(path: Path) -> str:
    """A file of the kernel's; empty on a system that has no such file."""
    return path.read_text(encoding="utf-8") if path.exists() else ""
