"""Rows of a recording's tables from samples, readings, ticks, markers and diagnoses, and back: both directions here.

What is read back is what was written, bit for bit. Unknown values are NULL in the file, and NaN or None here, as are
those that an earlier version did not write. It opens no file.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.hostile.config import KINDS as HOSTILE_KINDS
from plots.figures import UNSAMPLED
from plots.history import SAMPLE
from plots.number import none_if_nan
from server.journal.schema import MARKERS
from server.kernels import layout
from workbench.recording import schema
from workbench.telemetry.view import Diagnosis, Marker, Reading, StageReading, Turn

# One stage ("accept" ... "fan-out", "viewers") at the sample of this number. NaN where a figure is not known.
STAGE_SAMPLE = np.dtype(
    [("number", "i8"), ("time_ns", "i8"), ("stage", "U16"), *((name, "f8") for name in schema.STAGE_SAMPLE_COLUMNS)]
)

STAGE_NAMES = tuple(layout.stage_names())
# The arrays of a sample that have one value per stage; the rows of stages hold them.
_STAGE_FIELDS = ("utilisation_ratio", "service_us", "waiting_ms", "depth_peak")
_COUNTS = ("connection_count", "opened_count", "ended_count")

ADD_SAMPLE = schema.SAMPLES.add
ADD_STAGE_SAMPLE = schema.STAGE_SAMPLES.add
ADD_HOSTILE_SAMPLE = schema.HOSTILE_SAMPLES.add
ADD_TICK_LOG = schema.TICK_LOG.add.replace("INSERT", "INSERT OR IGNORE", 1)


# --- Samples, with their stages and hostile clients ---


def sample_row(number: int, sample: NDArray[Any]) -> tuple[Any, ...]:
    """A row of `samples`. `sample`: shape (), dtype SAMPLE."""
    counts = sample["latency_counts"]
    figures = (none_if_nan(sample[name]) for name in schema.SAMPLE_COLUMNS)
    bands = counts.astype("<u4").tobytes() if counts.any() else None
    return schema.SAMPLES.row(number, int(sample["time_ns"]), *figures, bands)


def stage_rows(number: int, sample: NDArray[Any], stages: Sequence[StageReading]) -> list[tuple[Any, ...]]:
    """Rows of `stage_samples`: what the sample has of each stage, and what the readings add.

    `stages` may lack some of the sample's stages and have others, as the viewers.
    """
    readings = {reading.name: reading for reading in stages}
    sampled = {
        name: {field: float(sample[field][index]) for field in _STAGE_FIELDS} for index, name in enumerate(STAGE_NAMES)
    }
    return [
        schema.STAGE_SAMPLES.row(number, name, *_stage_figures(sampled.get(name, {}), readings.get(name)))
        for name in dict.fromkeys((*STAGE_NAMES, *readings))
    ]


def _stage_figures(sampled: Mapping[str, float], reading: StageReading | None) -> list[float | None]:
    figures: dict[str, float | None] = {}
    if reading is not None:
        figures = {name: getattr(reading, name) for name in schema.STAGE_SAMPLE_COLUMNS if name != "drops_per_s"}
        figures["drops_per_s"] = sum(rate for _, rate in reading.drops_per_s)
    figures |= sampled
    return [none_if_nan(figures.get(name)) for name in schema.STAGE_SAMPLE_COLUMNS]


def hostile_rows(number: int, sample: NDArray[Any]) -> list[tuple[Any, ...]]:
    """Rows of `hostile_samples`: of each kind that has had connections. `sample`: shape (), dtype SAMPLE."""
    return [
        schema.HOSTILE_SAMPLES.row(
            number, name, *(int(row[field]) for field in _COUNTS), *row["codes"].tolist(), int(row["sent_bytes"])
        )
        for name, row in zip(HOSTILE_KINDS, sample["hostile"], strict=True)
        if row["opened_count"]
    ]


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
    for name, column in zip(schema.SAMPLE_COLUMNS, figures, strict=True):
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
    """Write the stages' figures into the samples' arrays. A stage has a row for every sample, or for none."""
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
    """Write the hostile kinds' figures into the samples' arrays."""
    for kind, name in enumerate(HOSTILE_KINDS):
        found = [row for row in rows if row[1] == name]
        if not found:
            continue
        numbers, _, *counts, most, following, sent = (np.array(column) for column in zip(*found, strict=True))
        # Counts only grow: a kind that has a row once has one in every later sample.
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


# --- Ticks ---


def tick_rows(ticks: NDArray[Any]) -> list[tuple[int, ...]]:
    """Rows of `tick_log`. `ticks`: shape (n,), dtype TICK."""
    scalars = zip(*(ticks[name].tolist() for name in schema.TICK_COLUMNS), strict=True)
    return [
        schema.TICK_LOG.row(*row, *depths) for row, depths in zip(scalars, ticks["depth_peak"].tolist(), strict=True)
    ]


def ticks_of(rows: Sequence[tuple[Any, ...]]) -> NDArray[Any]:
    """From rows of `tick_log`, each with its encoding after it. Returns shape (len(rows),), dtype TICK.

    Raises ValueError, TypeError or OverflowError for rows that no writer wrote.
    """
    ticks = np.zeros(len(rows), layout.TICK)
    if rows:
        columns = list(zip(*rows, strict=True))
        for name, column in zip(schema.TICK_COLUMNS, columns, strict=False):
            ticks[name] = np.array(column, layout.TICK[name])
        ticks["depth_peak"] = np.array(columns[len(schema.TICK_COLUMNS) : -1], np.uint32).T
        ticks["encoding"] = np.array(columns[-1], np.uint32)
    return ticks


# --- What a view shows beside samples ---


def reading_row(number: int, reading: Reading) -> tuple[Any, ...]:
    """A row of `readings`: the figures that a sample does not hold."""
    figures = (getattr(reading, figure.name) for figure in UNSAMPLED)
    return schema.READINGS.row(number, *figures, json.dumps(reading.loop_connection_counts))


def reading_of(row: Sequence[Any]) -> Reading:
    """From the values of READING_COLUMNS and the connections of each loop. Other figures are unknown.

    Raises ValueError or TypeError for rows that no writer wrote.
    """
    *values, loops = row
    known: dict[str, Any] = {
        figure.name: int(value) if figure.is_whole else value
        for figure, value in zip(UNSAMPLED, values, strict=True)
        if value is not None
    }
    return Reading(**known, loop_connection_counts=tuple(json.loads(loops)))


def marker_row(marker: Marker) -> tuple[Any, ...]:
    """A row of `markers`."""
    return MARKERS.row(marker.time_ns, marker.kind, marker.text)


def turn_row(turn: Turn) -> tuple[Any, ...]:
    """A row of `turns`."""
    return schema.TURNS.row(turn.time_ns, msgspec.json.encode(turn.changes).decode())


def turn_of(row: Sequence[Any]) -> Turn:
    """From a row of `turns`. Raises ValueError or TypeError for rows that no writer wrote."""
    time_ns, changes = row
    return Turn(time_ns, msgspec.json.decode(changes, type=dict[str, Any]))


def diagnosis_row(number: int, diagnosis: Diagnosis) -> tuple[Any, ...]:
    """A row of `diagnoses`: what limited the run from sample `number` on."""
    steps = json.dumps(diagnosis.explanation, ensure_ascii=False)
    found = diagnosis
    return schema.DIAGNOSES.row(number, found.bottleneck, found.sentence, found.runner_up, found.headroom_ratio, steps)


def diagnosis_of(row: Sequence[Any]) -> Diagnosis:
    """From a row of `diagnoses` without its number. Raises ValueError or TypeError for rows that no writer wrote."""
    bottleneck, sentence, runner_up, headroom_ratio, explanation = row
    lines = tuple(json.loads(explanation)) if explanation is not None else ()
    return Diagnosis(bottleneck, sentence, runner_up or "", headroom_ratio, lines)
