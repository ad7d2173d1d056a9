"""The kernels as plain Python: the same tests with the compiler off, where numpy would tell of an overflow."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROOMS = (
    "test_brakes",
    "test_decode",
    "test_admit",
    "test_follow",
    "test_apply",
    "test_encode",
    "test_fan_out",
    "test_histogram",
    "test_outbox",
)


def test_kernels_do_the_same_without_the_compiler():
    """What needs the C library is skipped there, and says so; nothing else is."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-rs",
            *(str(path) for room in ROOMS for path in (ROOT / "tests").rglob(f"{room}.py")),
        ],
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert skipped
    assert all("calls the C library" in line for line in skipped), skipped
