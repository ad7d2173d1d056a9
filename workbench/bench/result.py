"""What a benchmark comes to: frozen results, their statistics, and the file they are kept in.

Every trial is kept with all its figures, so that another reader can do other statistics.
Invariant: a file is written whole or not at all, and says what it was measured on.
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
SPREAD_RATIO_MAX = 0.10


class Row(msgspec.Struct, frozen=True):
    """All trials of one program in one step of a case."""

    step: str
    program: str
    outcomes: tuple[Outcome, ...]

    def values(self, key: str) -> list[float]:
        """A figure of every trial that knows it."""
        found = (outcome.figures.get(key) for outcome in self.outcomes)
        return [value for value in found if value is not None]

    def median(self, key: str) -> float | None:
        """The middle of a figure's trials; None when no trial knows it."""
        values = self.values(key)
        return statistics.median(values) if values else None

    def spread(self, key: str) -> float | None:
        """(largest - least) / median of a figure; None with fewer than two trials or a median of 0."""
        values, median = self.values(key), self.median(key)
        return (max(values) - min(values)) / abs(median) if len(values) > 1 and median else None


class CaseResult(msgspec.Struct, frozen=True):
    """One case as it was run."""

    name: str
    title: str
    primary: str
    seconds: float
    place: str
    """Which cores server and fleet were given."""
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What was left out, and why."""
    has_failed: bool = False
    """Whether some of that is a program that began and failed."""


class BenchResult(msgspec.Struct, frozen=True):
    """One doing of `workbench bench`."""

    begun: str
    """UTC, ISO 8601."""
    is_quick: bool
    trials: int
    machine: dict[str, Any]
    versions: dict[str, str]
    cases: tuple[CaseResult, ...]


def utc_now() -> datetime:
    """The time of day, for names of files and for people; never for measuring."""
    return datetime.now(UTC).replace(microsecond=0)


def new_result(begun: datetime, *, quick: bool, trials: int, cases: tuple[CaseResult, ...]) -> BenchResult:
    """A result of this machine, with the versions of all that takes part."""
    return BenchResult(begun.isoformat(), quick, trials, machine(), _versions(), cases)


def require_folder(folder: Path | None) -> None:
    """Raise UserError when results could not be kept under `folder`; make it when it is not there. None is fine."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder} cannot be a folder: {error.strerror}; choose another place") from None
    require_outputs({"--out": folder / "bench.json"})


def keep(folder: Path, result: BenchResult) -> Path:
    """Write the result into `folder`, named by its time. Returns the file."""
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
            continue  # A peer that is not installed has no version.
    return found
