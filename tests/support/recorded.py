"""Recordings made without a run: a canvas that a seed paints, and figures that are easy to foresee."""

import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.history import SAMPLE
from server.journal import schema
from server.kernels import layout
from server.mailbox.canvas import encode_delta
from server.palette import hex_colors
from server.wire import DELTA, tile_shape
from workbench.recording import rows as sample_rows
from workbench.recording.facts import checked
from workbench.recording.rows import diagnosis_row, marker_row, reading_row, turn_row
from workbench.recording.schema import DIAGNOSES, READINGS, RECORDING_TABLES, TURNS
from workbench.scenarios.scenario import load_scenario, scenario_text
from workbench.telemetry.view import Diagnosis, Marker, Reading, StageReading, Turn

STARTED_NS = 5_000_000_000_000
TICK_NS = 100_000_000
BUSY = Diagnosis("apply", "94 % busy", "read, 12 % busy", 0.25, ("it is busy", "its queue grows"))
"""What limits from sample 3 on."""


class Painted:
    """A canvas and, for each tick, how it was after it."""

    def __init__(self, width: int, height: int, seed: int = 1) -> None:
        self.pixels = np.zeros((height, width), np.uint8)
        self.pixel_tick = np.zeros((height, width), np.uint32)
        self.tick = 0
        self._random = np.random.default_rng(seed)

    def paint(self, count: int) -> tuple[Any, ...]:
        """Let a tick change `count` pixels at random. Returns its row of `ticks`."""
        self.tick += 1
        height, width = self.pixels.shape
        where = self._random.integers(0, width * height, count)
        self.pixels.ravel()[where] = self._random.integers(1, 256, count)
        self.pixel_tick.ravel()[where] = self.tick
        across, down = tile_shape(width, height)
        message, pixel_count = encode_delta(
            self.pixels, self.pixel_tick, range(across * down), self.tick - 1, self.tick
        )
        _, encoding, tile_count, _ = DELTA.unpack_from(message)
        blocks = message[DELTA.size :]
        time_ns = time_of(self.tick)
        crc = schema.row_crc(self.tick, time_ns, encoding, tile_count, blocks)
        return self.tick, time_ns, pixel_count, tile_count, int(encoding), blocks, crc

    def snapshot(self) -> tuple[Any, ...]:
        """A row of `snapshots` after the present tick."""
        data, time_ns = zlib.compress(self.pixels.tobytes(), 1), time_of(self.tick)
        return self.tick, time_ns, 1, data, schema.row_crc(self.tick, time_ns, 1, 0, data)


def time_of(tick: int) -> int:
    """When a tick is."""
    return STARTED_NS + tick * TICK_NS


def sample_of(number: int) -> NDArray[Any]:
    """A sample whose figures follow from its number; some are not known. Shape (), dtype SAMPLE."""
    sample = np.zeros((), SAMPLE)
    for index, name in enumerate(SAMPLE.names or ()):
        sample[name] = number * 10 + index
    sample["time_ns"] = time_of(number)
    sample["latency_ms_p50"] = np.nan
    sample["waiting_ms"][3] = np.nan
    sample["latency_counts"] = number * 10
    sample["hostile"][:4] = 0  # Kinds without connections, and one that comes later.
    if number < 3:
        sample["hostile"][7] = 0
    return sample


def readings_of(number: int) -> tuple[StageReading, ...]:
    """Readings of two stages."""
    drops = (("rate", 3.0), ("overload", 1.5))
    return (StageReading("admit", "placements", 1000.0 + number, depth=2.5, depth_max=64, drops_per_s=drops),
            StageReading("viewers", "deltas", 10.0, utilisation_ratio=0.25, depth_peak=7))  # fmt: skip


def reading_of(number: int) -> Reading:
    """What is to be seen beside the sample of this number."""
    return Reading(
        sent_per_s=number / 3,
        tick_ms=50.0,
        connection_count=900 + number,
        subscriber_count=40,
        over_limit_count=None,
        ledger_gap=-number,
        loop_connection_counts=(450, 450 + number),
    )


def tick_of(tick: int) -> NDArray[Any]:
    """A row of the tick log. Shape (1,), dtype TICK."""
    row = np.zeros(1, layout.TICK)
    for index, name in enumerate(layout.TICK.names or ()):
        row[name] = tick * 10 + index
    row["tick"], row["start_ns"], row["encoding"] = tick, time_of(tick), 0
    return row


def facts_of(width: int, height: int) -> dict[str, str]:
    """What `meta` needs."""
    scenario = scenario_text(load_scenario("first_light", [f"server.width={width}", f"server.height={height}"]))
    return {
        "kind": schema.RECORDING,
        "width": str(width),
        "height": str(height),
        "palette": json.dumps(hex_colors()),
        "created_utc": "2026-01-02T03:04:05Z",
        "started_ns": str(STARTED_NS),
        "scenario": scenario,
        "seed": "1",
        "machine": json.dumps({"cpu": "a cpu", "cores": 2}),
        "versions": json.dumps({"python": "3.11"}),
        "lock_sha256": "",
    }


def make(
    path: Path, ticks: int, *, size: tuple[int, int] = (70, 50), changes: int = 40, snapshot_ticks: int = 10
) -> dict[int, NDArray[np.uint8]]:
    """Write a recording of this many ticks and samples. Returns the canvas after each tick, the empty one as 0."""
    painted = Painted(*size)
    canvases = {0: painted.pixels.copy()}
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        schema.create_tables(file, RECORDING_TABLES)
        file.execute("BEGIN")
        file.executemany(schema.SET_META, checked(facts_of(*size)).items())
        for number in range(1, ticks + 1):
            file.execute(schema.ADD_TICK, painted.paint(changes))
            if number % snapshot_ticks == 0:
                file.execute(schema.ADD_SNAPSHOT, painted.snapshot())
            canvases[number] = painted.pixels.copy()
            sample = sample_of(number)
            file.execute(sample_rows.ADD_SAMPLE, sample_rows.sample_row(number, sample))
            file.executemany(sample_rows.ADD_STAGE_SAMPLE, sample_rows.stage_rows(number, sample, readings_of(number)))
            file.executemany(sample_rows.ADD_HOSTILE_SAMPLE, sample_rows.hostile_rows(number, sample))
            file.executemany(sample_rows.ADD_TICK_LOG, sample_rows.tick_rows(tick_of(number)))
            file.execute(READINGS.add, reading_row(number, reading_of(number)))
        file.execute(schema.MARKERS.add, marker_row(Marker(time_of(2), "knob", "rate limit 60 > 30")))
        file.execute(TURNS.add, turn_row(Turn(time_of(2), {"server.rate_per_s": 30})))
        file.execute(DIAGNOSES.add, diagnosis_row(1, Diagnosis("none", "idle")))
        file.execute(DIAGNOSES.add, diagnosis_row(3, BUSY))
        file.execute("COMMIT")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file.execute("PRAGMA journal_mode = DELETE")
    return canvases
