"""Synthetic recordings: a load that warms up, runs with noise and ends, with known true values."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.history import SAMPLE, SAMPLE_INTERVAL_NS
from server.journal import schema
from server.kernels import layout
from support import recorded
from workbench.recording import rows as sample_rows
from workbench.recording.facts import checked
from workbench.recording.rows import diagnosis_row, marker_row
from workbench.recording.schema import DIAGNOSES, RECORDING_TABLES
from workbench.telemetry.view import Diagnosis, Marker

IDLE, WARM_UP, DRAIN = 20, 60, 20
"""Samples before the load, during its warm-up, and after it."""
MACHINE = {"cpu": "Example 9000", "cores": 2, "python": "3.11.2", "os": "Linux 6.1"}
VERSIONS = {"python": "3.11.2", "numpy": "2.1.0"}
SUMMARY = {
    "seconds": 60.0, "connections": 1000, "admitted_per_s": 1000.0, "placement_to_view_ms_p50": 40.0,
    "placement_to_view_ms_p99": 90.0, "placement_to_view_ms_max": 130.0, "connections_lost": 0,
    "canvas_checksum": 1234, "viewers_wrong": None,
}  # fmt: skip


def correlated(count: int, mean: float, noise: float, seed: int) -> NDArray[np.float64]:
    """A series like rates over a second sampled ten times per second: moving means over ten independent values."""
    values = np.random.default_rng(seed).normal(mean, noise, count + 9)
    return np.convolve(values, np.ones(10) / 10, mode="valid")


def samples_of_run(
    count: int = 900, admitted_per_s: float = 1000.0, noise: float = 30.0, seed: int = 1
) -> NDArray[Any]:
    """`count` samples of dtype SAMPLE: idle, then a load that ramps up during its warm-up, then idle."""
    rows = np.zeros(count, SAMPLE)
    rows["time_ns"] = recorded.STARTED_NS + np.arange(1, count + 1) * SAMPLE_INTERVAL_NS
    for name in ("latency_ms_p50", "latency_ms_p99", "latency_ms_max", "service_us", "waiting_ms"):
        rows[name] = np.nan
    load = slice(IDLE, count - DRAIN)
    loaded = count - DRAIN - IDLE
    climb = np.minimum(np.arange(loaded) / WARM_UP, 1.0)
    rows["offered_per_s"][load] = 1.25 * admitted_per_s
    rows["received_per_s"][load] = 1.25 * admitted_per_s * climb
    rows["admitted_per_s"][load] = correlated(loaded, admitted_per_s, noise, seed) * climb
    rows["throttled_per_s"][load] = 0.25 * admitted_per_s * climb
    rows["broadcast_per_s"][load] = 0.9 * admitted_per_s * climb
    rows["delivered_per_s"][load] = 300 * admitted_per_s * climb
    rows["latency_ms_p50"][load] = correlated(loaded, 40, 4, seed + 1) + 400 * (climb < 1)
    rows["latency_ms_p99"][load] = 2 * rows["latency_ms_p50"][load]
    rows["latency_ms_max"][load] = 3 * rows["latency_ms_p50"][load]
    rows["latency_counts"][load, 25] = 90
    rows["latency_counts"][load, 29] = 10
    rows["utilisation_ratio"][load, layout.Stage.APPLY] = correlated(loaded, 0.6, 0.02, seed + 2)
    rows["service_us"][load, layout.Stage.APPLY] = 12.0
    rows["waiting_ms"][load, layout.Stage.APPLY] = 3.0
    rows["depth_peak"][load, layout.Stage.APPLY] = 80
    rows["server_cpu_cores"][load] = correlated(loaded, 0.5, 0.02, seed + 3)
    rows["fleet_cpu_cores"][load] = correlated(loaded, 0.4, 0.02, seed + 4)
    return rows


def write_run(
    path: Path,
    samples: NDArray[Any] | None = None,
    *,
    size: tuple[int, int] = (64, 48),
    machine: dict[str, Any] | None = None,
    versions: dict[str, Any] | None = None,
    ended: bool = True,
    markers: tuple[tuple[float, str, str], ...] = ((20.0, "knob", "rate limit 60 > 30"),),
    diagnoses: tuple[tuple[int, str, str], ...] = ((1, "none", "idle"), (100, "apply", "94 % busy")),
    snapshot_ticks: int = 50,
) -> Path:
    """Write a recording with these samples, one tick per sample. Returns `path`."""
    samples = samples_of_run() if samples is None else samples
    painted = recorded.Painted(*size)
    facts = recorded.facts_of(*size)
    facts |= {"machine": json.dumps(machine or MACHINE), "versions": json.dumps(versions or VERSIONS)}
    if ended:
        facts["ended"] = json.dumps(SUMMARY)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        schema.create_tables(file, RECORDING_TABLES)
        file.execute("BEGIN")
        file.executemany(schema.SET_META, checked(facts).items())
        for number, sample in enumerate(samples, 1):
            file.execute(schema.ADD_TICK, painted.paint(30))
            if number % snapshot_ticks == 0:
                file.execute(schema.ADD_SNAPSHOT, painted.snapshot())
            file.execute(sample_rows.ADD_SAMPLE, sample_rows.sample_row(number, sample))
            readings = recorded.readings_of(number)
            file.executemany(sample_rows.ADD_STAGE_SAMPLE, sample_rows.stage_rows(number, sample, readings))
            file.executemany(sample_rows.ADD_HOSTILE_SAMPLE, sample_rows.hostile_rows(number, sample))
            file.executemany(sample_rows.ADD_TICK_LOG, sample_rows.tick_rows(_tick(number)))
        for second, kind, text in markers:
            marker = Marker(recorded.STARTED_NS + round(second * 1e9), kind, text)
            file.execute(schema.MARKERS.add, marker_row(marker))
        for number, bottleneck, sentence in diagnoses:
            file.execute(DIAGNOSES.add, diagnosis_row(number, Diagnosis(bottleneck, sentence)))
        file.execute("COMMIT")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file.execute("PRAGMA journal_mode = DELETE")
    return path


def _tick(number: int) -> NDArray[Any]:
    row = recorded.tick_of(number)
    row["interval_ns"] = recorded.TICK_NS + (number % 10) * 1_000_000
    return row
