"""What a control group of Linux, and so a container, leaves a process: processor time and memory, in both versions.

It asks nothing but the files below the folder that it is given, and judges nothing. Invariant: a limit is the least of
the group's own and of every group that it is in; None where there is none, or where the system tells none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MEMBERSHIP = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
_UNLIMITED_BYTES = 1 << 60
"""Version 1 has no word for "no limit": it tells a number that no machine has."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process."""

    core_quota: float | None
    """Processor time over time: 1.5 is one core and a half."""
    memory_bytes: int | None


def limits() -> Limits:
    """Of this process, as they are now."""
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
    """A group's folder and those above it. In a container the path may be the host's: then only the top is there."""
    # Version 2 has one tree, without a controller's name; beside version 1 it stands apart, and limits nothing.
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
    """A file of the kernel's; empty where there is none that we may read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
