"""The figure tables of a recording, beside those that its server writes (`server.journal.schema`).

Each row holds a checksum over its other columns.

    TABLE            ONE ROW IS
    tick_log         the figures of a tick: layout.TICK
    samples          the figures of a tenth of a second, of `plots.figures`, and the latencies by band
    stage_samples    the figures of one stage at a sample
    hostile_samples  the figures of one kind of hostile client at a sample
    readings         the other figures at a sample
    turns            a change of the settings
    diagnoses        the bottleneck from a sample on
"""

from plots.figures import SAMPLED, UNSAMPLED
from server.journal.schema import SERVER_TABLES, CheckedTable, Column
from server.kernels.layout import TICK, Stage

# The stages as columns and rows name them, in their order.
STAGE_COLUMNS = tuple(stage.name.lower().replace("fanout", "fan_out") for stage in Stage)
# The fields of a sample that are one number each, except its time.
SAMPLE_COLUMNS = tuple(figure.column for figure in SAMPLED)
READING_COLUMNS = tuple(figure.column for figure in UNSAMPLED)
# The fields of a tick that are one number each. Its encoding is a column of the server's table `ticks`.
TICK_COLUMNS = tuple(name for name in TICK.names or () if name not in ("encoding", "depth_peak"))
TICK_LOG_COLUMNS = (*TICK_COLUMNS, *(f"depth_peak_{stage}" for stage in STAGE_COLUMNS))
STAGE_SAMPLE_COLUMNS = (
    "throughput_per_s", "utilisation_ratio", "service_us", "waiting_ms", "depth", "depth_peak", "depth_max",
    "drops_per_s", "growth_per_s",
)  # fmt: skip
HOSTILE_SAMPLE_COLUMNS = ("connection_count", "opened_count", "ended_count", "code_most", "code_next", "sent_bytes")
DIAGNOSIS_COLUMNS = ("number", "bottleneck", "sentence", "runner_up", "headroom_ratio", "explanation")

_NUMBER: Column = ("number", "INTEGER")


def _typed(names: tuple[str, ...], kind: str) -> tuple[Column, ...]:
    return tuple((name, kind) for name in names)


# A checksum covers the columns' names and order: both are part of the format.
TICK_LOG = CheckedTable("tick_log", ("tick",), _typed(TICK_LOG_COLUMNS, "INTEGER"))
SAMPLES = CheckedTable(
    "samples",
    ("number",),
    (_NUMBER, ("time_ns", "INTEGER"), *_typed(SAMPLE_COLUMNS, "REAL"), ("latency_counts", "BLOB")),
)
STAGE_SAMPLES = CheckedTable(
    "stage_samples", ("number", "stage"), (_NUMBER, ("stage", "TEXT"), *_typed(STAGE_SAMPLE_COLUMNS, "REAL"))
)
HOSTILE_SAMPLES = CheckedTable(
    "hostile_samples", ("number", "kind"), (_NUMBER, ("kind", "TEXT"), *_typed(HOSTILE_SAMPLE_COLUMNS, "INTEGER"))
)
READINGS = CheckedTable(
    "readings", ("number",), (_NUMBER, *_typed(READING_COLUMNS, "REAL"), ("loop_connection_counts", "TEXT"))
)
TURNS = CheckedTable("turns", (), (("time_ns", "INTEGER"), ("changes", "TEXT")))
DIAGNOSES = CheckedTable(
    "diagnoses",
    ("number",),
    (_NUMBER, *((name, "REAL" if name == "headroom_ratio" else "TEXT") for name in DIAGNOSIS_COLUMNS[1:])),
)

RECORDING_TABLES = (
    *SERVER_TABLES,
    *(table.create for table in (TICK_LOG, SAMPLES, STAGE_SAMPLES, HOSTILE_SAMPLES, READINGS, TURNS, DIAGNOSES)),
)
