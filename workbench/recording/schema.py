"""The figure tables of a recording, beside those that its server writes (`server.journal.schema`).

Each row holds a checksum over its other columns.

    TABLE            ONE ROW IS
    tick_log         the figures of a tick: layout.TICK
    samples          the figures of a tenth of a second: SAMPLE without its arrays
    stage_samples    the figures of one stage at a sample
    hostile_samples  the figures of one kind of hostile client at a sample
    readings         the other figures of the view at a sample
    turns            a change of the settings
    diagnoses        the bottleneck from a sample on
"""

from plots.history import SAMPLE
from server.journal.schema import SERVER_TABLES
from server.journal.sealed_table import Column, SealedTable
from server.kernels.layout import Stage

STAGE_COLUMNS = tuple(stage.name.lower().replace("fanout", "fan_out") for stage in Stage)
"""The stages as columns and rows name them, in their order."""
SAMPLE_COLUMNS = tuple(
    name for name in SAMPLE.names or () if name != "time_ns" and SAMPLE.fields is not None and not SAMPLE[name].shape
)
"""The fields of a sample that are one number each, except its time."""
TICK_LOG_COLUMNS = (
    "tick", "start_ns", "lateness_ns", "interval_ns", "encode_ns", "tile_count", "pixel_count", "frame_bytes",
    "admitted_count", "in_flight_count", *(f"depth_peak_{stage}" for stage in STAGE_COLUMNS),
)  # fmt: skip
STAGE_SAMPLE_COLUMNS = (
    "throughput_per_s", "utilisation_ratio", "service_us", "waiting_ms", "depth", "depth_peak", "depth_max",
    "drops_per_s", "growth_per_s",
)  # fmt: skip
HOSTILE_SAMPLE_COLUMNS = ("connection_count", "opened_count", "ended_count", "code_most", "code_next", "sent_bytes")
READING_COLUMNS = (
    "sent_per_s", "conflated_per_s", "broadcast_deltas_per_s", "broadcast_bytes_per_s", "lateness_ms_p99", "tick_ms",
    "connection_count", "subscriber_count", "watching_count", "lagging_count", "over_limit_count", "stalled_count",
    "lost_count", "protocol_error_count", "ledger_gap", "server_resident_bytes", "window_fps", "utilisation_ratio",
)  # fmt: skip


def _typed(names: tuple[str, ...], kind: str) -> tuple[Column, ...]:
    return tuple((name, kind) for name in names)


TICK_LOG = SealedTable("tick_log", ("tick",), _typed(TICK_LOG_COLUMNS, "INTEGER"))
SAMPLES = SealedTable(
    "samples",
    ("number",),
    (*_typed(("number", "time_ns"), "INTEGER"), *_typed(SAMPLE_COLUMNS, "REAL"), ("latency_counts", "BLOB")),
)
STAGE_SAMPLES = SealedTable(
    "stage_samples",
    ("number", "stage"),
    (("number", "INTEGER"), ("stage", "TEXT"), *_typed(STAGE_SAMPLE_COLUMNS, "REAL")),
)
HOSTILE_SAMPLES = SealedTable(
    "hostile_samples",
    ("number", "kind"),
    (("number", "INTEGER"), ("kind", "TEXT"), *_typed(HOSTILE_SAMPLE_COLUMNS, "INTEGER")),
)
READINGS = SealedTable(
    "readings",
    ("number",),
    (("number", "INTEGER"), *_typed(READING_COLUMNS, "REAL"), ("loop_connection_counts", "TEXT")),
)
TURNS = SealedTable("turns", (), (("time_ns", "INTEGER"), ("changes", "TEXT")))
DIAGNOSES = SealedTable(
    "diagnoses",
    ("number",),
    (
        ("number", "INTEGER"),
        *_typed(("bottleneck", "sentence", "runner_up"), "TEXT"),
        ("headroom_ratio", "REAL"),
        ("explanation", "TEXT"),
    ),
)

RECORDING_TABLES = (
    *SERVER_TABLES,
    *(table.create for table in (TICK_LOG, SAMPLES, STAGE_SAMPLES, HOSTILE_SAMPLES, READINGS, TURNS, DIAGNOSES)),
)
