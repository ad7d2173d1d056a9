"""Samples, stages and ticks as rows of a recording's tables, and back: one place for both directions.

It opens no file. Invariant: what is read back is what was written, bit for bit; what is not known is NULL there and
NaN here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.hostile.config import KINDS as HOSTILE_KINDS
from plots.history import SAMPLE
from server.kernels import layout
from workbench.recording.schema import (
    HOSTILE_SAMPLES,
    SAMPLE_COLUMNS,
    SAMPLES,
    STAGE_SAMPLE_COLUMNS,
    STAGE_SAMPLES,
    TICK_LOG,
    TICK_LOG_COLUMNS,
)
from workbench.telemetry.view import StageReading

STAGE_SAMPLE = np.dtype(
    [
        ("number", "i8"),  # Of the sample.
        ("time_ns", "i8"),
        ("stage", "U16"),  # As shown: "accept" ... "fan-out", "viewers".
        ("throughput_per_s", "f8"),
        ("utilisation_ratio", "f8"),
        ("service_us", "f8"),
        ("waiting_ms", "f8"),
        ("depth", "f8"),
        ("depth_peak", "f8"),
        ("depth_max", "f8"),
        ("drops_per_s", "f8"),  # Of all reasons.
        ("growth_per_s", "f8"),  # Of the queue, in items.
    ]
)
"""One stage at one sample. NaN where it is not known."""

STAGE_NAMES = tuple(layout.stage_names())
_STAGE_FIELDS = ("utilisation_ratio", "service_us", "waiting_ms", "depth_peak")
"""What a sample holds by stage, and is told in the stages' rows."""
_COUNTS = ("connection_count", "opened_count", "ended_count")
_DEPTH_FIRST = TICK_LOG_COLUMNS.index("in_flight_count") + 1

ADD_SAMPLE = SAMPLES.add
ADD_STAGE_SAMPLE = STAGE_SAMPLES.add
ADD_HOSTILE_SAMPLE = HOSTILE_SAMPLES.add
ADD_TICK_LOG = TICK_LOG.add.replace("INSERT", "INSERT OR IGNORE", 1)

assert STAGE_SAMPLE.names is not None
assert STAGE_SAMPLE.names[3:] == STAGE_SAMPLE_COLUMNS


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def sample_row(number: int, sample: NDArray[Any]) -> tuple[Any, ...]:
    """A row of `samples`. `sample`: shape (), dtype SAMPLE."""
    counts = sample["latency_counts"]
    figures = (_known(float(sample[name])) for name in SAMPLE_COLUMNS)
    return SAMPLES.row(
        number, int(sample["time_ns"]), *figures, counts.astype("<u4").tobytes() if counts.any() else None
    )


def stage_rows(number: int, sample: NDArray[Any], stages: Sequence[StageReading]) -> list[tuple[Any, ...]]:
    """Rows of `stage_samples`: what the sample itself tells of each of its stages, and what the readings add.

    `stages` may lack some of the sample's stages and have others, as the viewers.
    """
    readings = {reading.name: reading for reading in stages}
    told = {
        name: {field: float(sample[field][index]) for field in _STAGE_FIELDS} for index, name in enumerate(STAGE_NAMES)
    }
    return [
        STAGE_SAMPLES.row(number, name, *_stage_figures(told.get(name, {}), readings.get(name)))
        for name in dict.fromkeys((*STAGE_NAMES, *readings))
    ]


def _stage_figures(told: Mapping[str, float], reading: StageReading | None) -> list[float | None]:
    figures: dict[str, float | None] = {}
    if reading is not None:
        figures = {name: getattr(reading, name) for name in STAGE_SAMPLE_COLUMNS if name != "drops_per_s"}
        figures["drops_per_s"] = sum(rate for _, rate in reading.drops_per_s)
    figures |= told
    return [_known(figures.get(name)) for name in STAGE_SAMPLE_COLUMNS]


def hostile_rows(number: int, sample: NDArray[Any]) -> list[tuple[Any, ...]]:
    """Rows of `hostile_samples`: of each kind of which there was anybody so far. `sample`: shape (), dtype SAMPLE."""
    return [
        HOSTILE_SAMPLES.row(
            number, name, *(int(row[field]) for field in _COUNTS), *row["codes"].tolist(), int(row["sent_bytes"])
        )
        for name, row in zip(HOSTILE_KINDS, sample["hostile"], strict=True)
        if row["opened_count"]
    ]


def tick_rows(ticks: NDArray[Any]) -> list[tuple[int, ...]]:
    """Rows of `tick_log`. `ticks`: shape (n,), dtype TICK."""
    scalars = zip(*(ticks[name].tolist() for name in TICK_LOG_COLUMNS[:_DEPTH_FIRST]), strict=True)
    return [TICK_LOG.row(*row, *depths) for row, depths in zip(scalars, ticks["depth_peak"].tolist(), strict=True)]


def samples_of(
    rows: Sequence[tuple[Any, ...]], stages: NDArray[Any], hostile: Sequence[tuple[Any, ...]]
) -> NDArray[Any]:
    """Samples from rows of `samples` and the figures of stages and hostile clients at these.

    `stages`: dtype STAGE_SAMPLE; `hostile`: rows of `hostile_samples`, by number. Returns shape (len(rows),), dtype
    SAMPLE. Raises ValueError, TypeError or OverflowError for rows that no writer wrote.
    """
    samples = np.zeros(len(rows), SAMPLE)
    if not rows:
        return samples
    numbers, times, *figures, counts = zip(*rows, strict=True)
    samples["time_ns"] = np.array(times, np.int64)
    for name, column in zip(SAMPLE_COLUMNS, figures, strict=True):
        samples[name] = np.array(column, np.float64)
    for row, data in enumerate(counts):
        if data is not None:
            samples["latency_counts"][row] = np.frombuffer(data, "<u4")
    if numbers[-1] - numbers[0] + 1 != len(rows):
        raise ValueError(f"between {numbers[0]} and {numbers[-1]} some are missing")
    _fill_stages(samples, np.array(numbers, np.int64), stages)
    _fill_hostile(samples, numbers[0], hostile)
    return samples


def _fill_stages(samples: NDArray[Any], numbers: NDArray[np.int64], stages: NDArray[Any]) -> None:
    """Write each stage's figures into its place of the samples' arrays. Those of a stage are of all samples or none."""
    for field in _STAGE_FIELDS:
        samples[field] = np.nan
    for index, name in enumerate(STAGE_NAMES):
        found = stages[stages["stage"] == name]
        if not len(found):
            continue
        if len(found) != len(numbers) or (found["number"] != numbers).any():
            raise ValueError(f"of the stage {name} some are missing")
        for field in _STAGE_FIELDS:
            samples[field][:, index] = found[field]


def _fill_hostile(samples: NDArray[Any], first: int, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write each kind's figures into its place. Counts only grow: who was seen once has a row in every later sample."""
    for kind, name in enumerate(HOSTILE_KINDS):
        found = [row for row in rows if row[1] == name]
        if not found:
            continue
        numbers, _, *counts, most, following, sent = (np.array(column) for column in zip(*found, strict=True))
        if (np.diff(numbers) != 1).any() or numbers[-1] != first + len(samples) - 1:
            raise ValueError(f"of the clients that misbehave by {name} some are missing")
        places = samples["hostile"][-len(found) :, kind]
        places["codes"], places["sent_bytes"] = np.stack([most, following], axis=1), sent
        for field, column in zip(_COUNTS, counts, strict=True):
            places[field] = column


def stage_samples_of(rows: Sequence[tuple[Any, ...]]) -> NDArray[Any]:
    """From rows of (number, time_ns, stage, figures ...). Returns shape (len(rows),), dtype STAGE_SAMPLE.

    Raises ValueError or TypeError for rows that no writer wrote.
    """
    stages = np.zeros(len(rows), STAGE_SAMPLE)
    if rows:
        for name, column in zip(STAGE_SAMPLE.names or (), zip(*rows, strict=True), strict=True):
            stages[name] = np.array(column, STAGE_SAMPLE[name])
    return stages


def ticks_of(rows: Sequence[tuple[Any, ...]]) -> NDArray[Any]:
    """From rows of `tick_log`, each with its encoding after it. Returns shape (len(rows),), dtype TICK.

    Raises ValueError, TypeError or OverflowError for rows that no writer wrote.
    """
    ticks = np.zeros(len(rows), layout.TICK)
    if rows:
        columns = list(zip(*rows, strict=True))
        for name, column in zip(TICK_LOG_COLUMNS[:_DEPTH_FIRST], columns[:_DEPTH_FIRST], strict=True):
            ticks[name] = np.array(column, layout.TICK[name])
        ticks["depth_peak"] = np.array(columns[_DEPTH_FIRST:-1], np.uint32).T
        ticks["encoding"] = np.array(columns[-1], np.uint32)
    return ticks
