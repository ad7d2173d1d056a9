"""Limits of a container on cores and memory, from the files of both versions of control groups."""

from pathlib import Path

import pytest

from workbench.machine.facts import Limits, limits, limits_of


def put(folder: Path, files: dict[str, str]) -> Path:
    """Write files of the kernel's; their names are paths below `folder`."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("", {}, Limits(None, None)),
        ("0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n"}, Limits(None, None)),
        ("0::/\n", {"cpu.max": "150000 100000\n", "memory.max": "1048576\n"}, Limits(1.5, 1048576)),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, Limits(0.5, None)),
        ("0::/a/b\n", {"a/b/memory.max": "4096", "a/memory.max": "8192"}, Limits(None, 4096)),
        ("0::/../host\n", {"cpu.max": "200000 100000"}, Limits(2.0, None)),
        (
            "4:memory:/m\n1:cpu,cpuacct:/c\n0::/\n",
            {
                "memory/m/memory.limit_in_bytes": "4096\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "cpu,cpuacct/c/cpu.cfs_quota_us": "25000\n",
                "cpu,cpuacct/c/cpu.cfs_period_us": "100000\n",
                "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            Limits(0.25, 4096),
        ),
        (
            "1:cpu:/of/the/host\n",
            {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"},
            Limits(3, None),
        ),
    ],
)
def test_the_least_limit_counts(tmp_path: Path, membership: str, files: dict[str, str], expected: Limits) -> None:
    assert limits_of(membership, put(tmp_path, files)) == expected


def test_this_process_has_limits_or_none() -> None:
    found = limits()
    assert found.core_quota is None or found.core_quota > 0
    assert found.memory_bytes is None or found.memory_bytes > 0
