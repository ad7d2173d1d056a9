"""Results of benchmarks: their statistics, and the file they are kept in.

Every trial is kept with all its figures, so that a reader can compute other statistics, and with the machine on which
it was measured.
"""

import platform
import statistics
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from workbench.bench.trial import Outcome
from workbench.errors import UserError
from workbench.output_file import require_outputs, write_atomically
from workbench.telemetry.summary import machine

PACKAGES = ("pixel-canvas-workbench", "numpy", "numba", "websockets", "picows", "aiohttp")


class Row(msgspec.Struct, frozen=True):
    """All trials of one program in one step of a case."""

    step: str
    program: str
    outcomes: tuple[Outcome, ...]

    def values(self, key: str) -> list[float]:
        """A figure of every trial that has it."""
        found = (outcome.figures.get(key) for outcome in self.outcomes)
        return [value for value in found if value is not None]

    def median(self, key: str) -> float | None:
        """The median of a figure over the trials; None when no trial has it."""
        values = self.values(key)
        return statistics.median(values) if values else None

    def spread(self, key: str) -> float | None:
        """(largest - least) / median of a figure; None with fewer than two trials or a median of 0."""
        values, median = self.values(key), self.median(key)
        return (max(values) - min(values)) / abs(median) if len(values) > 1 and median else None


class CaseResult(msgspec.Struct, frozen=True):
    """One case, as run."""

    name: str
    title: str
    primary: str
    seconds: float
    # The cores of server and fleet.
    place: str
    rows: tuple[Row, ...]
    # What was left out, and why.
    notes: tuple[str, ...] = ()
    # Whether a program began and failed.
    has_failed: bool = False


class BenchResult(msgspec.Struct, frozen=True):
    """One run of `workbench bench`."""

    # UTC, ISO 8601.
    begun: str
    is_quick: bool
    trials: int
    machine: dict[str, Any]
    versions: dict[str, str]
    cases: tuple[CaseResult, ...]


def utc_now() -> datetime:
    """The time of day, for file names and readers; never for measuring."""
    return datetime.now(UTC).replace(microsecond=0)


def new_result(begun: datetime, *, quick: bool, trials: int, cases: tuple[CaseResult, ...]) -> BenchResult:
    """A result on this machine, with the versions of all programs."""
    return BenchResult(begun.isoformat(), quick, trials, machine(), _versions(), cases)


def require_folder(folder: Path | None) -> None:
    """Create `folder` if it is given and missing. Raises UserError when results could not be kept there."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder} cannot be a folder: {error.strerror}; choose another place") from None
    require_outputs({"--out": folder / "bench.json"})


def keep(folder: Path, result: BenchResult) -> Path:
    """Write the result into `folder`, named by its time. Returns the file."""
    # No colons, which some file systems refuse.
    stamp = datetime.fromisoformat(result.begun).strftime("%Y%m%d-%H%M%S")
    path = folder / f"bench-{stamp}.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return path


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            # The distribution's version, which is what a reader would install again.
            continue  # A peer that is not installed has no version.
    return found
