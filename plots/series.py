"""The panels, as a table by name: their lines and layers, axes and legends.

How they are drawn is in `panel`, where in `geometry`. A stage, and an outcome of placements, has the same colour in
every panel.
"""

import numpy as np

from devices.hostile.config import KINDS as HOSTILE_KINDS
from devices.hostile.counters import HOSTILE_OTHER, HOSTILE_RESET
from plots.axis import Axis, DepthAxis, LinearAxis, LogAxis, ShareAxis
from plots.number import index_digits, measure_digits, share_digits
from plots.spec import BarRow, PanelSpec, Read, Samples, Series, Shape, field, growth_per_s
from plots.timeline import Values
from server.kernels import layout
from server.kernels.layout import Stage

WAITING_NOTICE = "waiting for the load"
NOTHING_NOTICE = "no data kept for this period"

# The panels shown by default, row by row.
DEFAULT_NAMES = ("throughput", "queues", "heat", "drops")
# The default when hostile clients take part: queue lengths matter least then.
HOSTILE_NAMES = ("throughput", "hostile", "heat", "drops")

_STAGE_NAMES = layout.stage_names()
_STAGE_COLORS = {
    Stage.ACCEPT: "silver",
    Stage.READ: "green",
    Stage.DECODE: "sky",
    Stage.ADMIT: "yellow",
    Stage.APPLY: "orange",
    Stage.JOURNAL: "blue",
    Stage.ENCODE: "purple",
    Stage.FANOUT: "vermilion",
}
_QUEUED_STAGES = (Stage.READ, Stage.DECODE, Stage.ADMIT, Stage.APPLY, Stage.ENCODE, Stage.FANOUT)


def load_runs(samples: Samples) -> bool:
    """Whether placements were offered or received in these samples."""
    return bool(np.any(samples["offered_per_s"] > 0) or np.any(samples["received_per_s"] > 0))


def _idle_ratio(samples: Samples) -> Values:
    ratios = samples["utilisation_ratio"]
    busy = np.nan_to_num(ratios).sum(axis=1, dtype=np.float64)
    idle: Values = np.where(np.isfinite(ratios).any(axis=1), np.maximum(1.0 - busy, 0.0), np.nan)
    return idle


def _inflow_per_s(samples: Samples) -> Values:
    """How fast the number in flight grows. Placements that leave flight are counted in the other layers already."""
    return np.maximum(growth_per_s(field("in_flight_count"))(samples), 0.0)


def _layer(name: str, read: Read, color: str, legend_read: Read | None = None) -> Series:
    return Series(name, read, color, Shape.LAYER, width=1.0, legend_read=legend_read)


THROUGHPUT = PanelSpec(
    title="Throughput",
    unit="placements/s",
    meaning="Offered, received, admitted and broadcast",
    series=(
        Series("offered", field("offered_per_s"), "silver", width=1.1, dashed=True),
        Series("received", field("received_per_s"), "sky", width=4.0, opacity=0.6),
        Series("admitted", field("admitted_per_s"), "green", width=1.8),
        Series("broadcast", field("broadcast_per_s"), "orange"),
    ),
    new_axis=lambda: LinearAxis(floor=1000.0),
    legend_columns=2,
    brushed=True,
)
QUEUES = PanelSpec(
    title="Queue depth",
    unit="items (bytes at decode), log scale",
    meaning="Items waiting before each stage",
    series=tuple(
        Series(_STAGE_NAMES[stage], field("depth_peak", stage), _STAGE_COLORS[stage], width=1.4, peak=True)
        for stage in _QUEUED_STAGES
    ),
    new_axis=lambda: DepthAxis(floor=100.0),
    legend_columns=3,
)
LATENCY = PanelSpec(
    title="Placement-to-view latency",
    short_title="View latency",
    unit="ms, log scale",
    meaning="Median, 99th percentile and maximum, as lines",
    series=(
        Series("p50", field("latency_ms_p50"), "sky", width=1.8),
        Series("p99", field("latency_ms_p99"), "orange"),
        Series("max", field("latency_ms_max"), "vermilion", width=1.1, opacity=0.9, peak=True),
    ),
    new_axis=lambda: LogAxis(low=1.0, floor=100.0),
    legend_columns=3,
    brushed=True,
    digits=measure_digits,
    digits_widest="8888",
    empty_notice="no placement seen\nby its device yet",
)
HEAT = PanelSpec(
    title="Placement-to-view latency",
    short_title="View latency",
    unit="ms, log scale",
    meaning="Heat map: shows tails and multiple modes",
    series=(
        Series("p50", field("latency_ms_p50"), "sky", width=1.2),
        Series("p99", field("latency_ms_p99"), "green", width=1.2),
    ),
    new_axis=lambda: LogAxis(low=1.0, floor=100.0),
    legend_columns=3,
    heat=True,
    brushed=True,
    digits=measure_digits,
    digits_widest="8888",
    empty_notice="no placement seen\nby its device yet",
)
DROPS = PanelSpec(
    title="Drops by reason",
    unit="placements/s",
    meaning="Placements refused or discarded, by reason",
    series=(
        _layer("rate", field("throttled_per_s"), "purple"),
        _layer("overload", field("shed_per_s"), "vermilion"),
        _layer("out of bounds", field("out_of_bounds_per_s"), "yellow"),
    ),
    new_axis=lambda: LinearAxis(floor=100.0),
    legend_columns=3,
    brushed=True,
    empty_notice="no drops",
)
STAGES = PanelSpec(
    title="Where the time goes",
    unit="of a loop, by stage",
    meaning="Which stage keeps the busiest loop busy",
    series=(
        *(
            _layer(_STAGE_NAMES[stage], field("utilisation_ratio", stage), color)
            for stage, color in _STAGE_COLORS.items()
        ),
        _layer("idle", _idle_ratio, "grid"),
    ),
    new_axis=ShareAxis,
    legend_columns=3,
    digits=share_digits,
    digits_widest="888",
)
WAITING = PanelSpec(
    title="Waiting time by stage",
    unit="ms, log scale",
    meaning="How long an item waits before each stage",
    series=tuple(
        Series(_STAGE_NAMES[stage], field("waiting_ms", stage), _STAGE_COLORS[stage], width=1.4)
        for stage in _QUEUED_STAGES
    ),
    new_axis=lambda: LogAxis(low=0.1, floor=10.0, low_least=0.01),
    legend_columns=3,
    digits=measure_digits,
    digits_widest="8888",
    empty_notice="nothing is waiting",
)
SERVICE = PanelSpec(
    title="Service time by stage",
    unit="us per item, log scale",
    meaning="How long each stage works on one item",
    series=tuple(
        Series(_STAGE_NAMES[stage], field("service_us", stage), color, width=1.4)
        for stage, color in _STAGE_COLORS.items()
    ),
    new_axis=lambda: LogAxis(low=0.1, floor=10.0, low_least=0.01),
    legend_columns=3,
    digits=measure_digits,
    digits_widest="8888",
    empty_notice="nothing processed",
)
FAIRNESS = PanelSpec(
    title="Fairness",
    unit="admitted/s, per connection",
    meaning="How evenly the connections share the admitted rate",
    series=(
        Series("p5", field("share_p5_per_s"), "sky", width=1.0),
        Series("p95", field("share_p95_per_s"), "sky", Shape.BAND, width=1.0),
        Series("p50", field("share_p50_per_s"), "orange", width=1.8),
        Series("Jain 0-1", field("fairness_index"), "green", width=1.2, dashed=True, whole=1.0, digits=index_digits),
    ),
    new_axis=lambda: LinearAxis(floor=10.0),
    legend_columns=2,
    digits=measure_digits,
    digits_widest="8888",
    empty_notice="nothing admitted",
)
LEDGER = PanelSpec(
    title="Ledger",
    unit="placements/s",
    meaning="What became of every placement, beside what was sent",
    series=(
        _layer("admitted", growth_per_s(field("admitted_count")), "green"),
        _layer("rate", growth_per_s(field("throttled_count")), "purple"),
        _layer("overload", growth_per_s(field("shed_count")), "vermilion"),
        _layer("bounds", growth_per_s(field("out_of_bounds_count")), "yellow"),
        _layer("in flight", _inflow_per_s, "sky", legend_read=field("in_flight_count")),
        Series("sent", growth_per_s(field("sent_count")), "silver", width=1.4, dashed=True),
    ),
    new_axis=lambda: LinearAxis(floor=1000.0),
    legend_columns=3,
)
COST = PanelSpec(
    title="Cost",
    unit="CPU cores",
    meaning="CPU cores used by server, fleet, panels, window",
    series=(
        _layer("server", field("server_cpu_cores"), "sky"),
        _layer("fleet", field("fleet_cpu_cores"), "green"),
        _layer("panels", field("panels_cpu_cores"), "purple"),
        _layer("window", field("window_cpu_cores"), "orange"),
    ),
    new_axis=lambda: LinearAxis(floor=1.0),
    legend_columns=2,
    digits=measure_digits,
)

_ENDS = {HOSTILE_RESET: "reset", HOSTILE_OTHER: "other"}


def _hostile_rows(samples: Samples) -> tuple[BarRow, ...]:
    """A row for each kind that was present."""
    return tuple(
        BarRow(
            name.replace("_", " "),
            (float(kind["connection_count"]), float(kind["ended_count"]), float(kind["sent_bytes"])),
            ("", " ".join(_ENDS.get(code, str(code)) for code in kind["codes"].tolist() if code), ""),
        )
        for name, kind in zip(HOSTILE_KINDS, samples["hostile"][-1] if len(samples) else (), strict=False)
        if kind["opened_count"]
    )


def _hostile_sum(name: str) -> Read:
    """A count summed over all kinds, for the legend; the panel itself draws bars."""

    def read(samples: Samples) -> Values:
        totals: Values = samples["hostile"][name].sum(axis=1, dtype=np.float64)
        return totals

    return read


HOSTILE = PanelSpec(
    title="Hostile clients",
    unit="by kind, since the start",
    meaning="Hostile clients by kind, and how they ended",
    series=(
        Series("open", _hostile_sum("connection_count"), "sky", width=1.0, peak=True),
        Series("ended", _hostile_sum("ended_count"), "orange", width=2.4, peak=True),
        Series("bytes sent", _hostile_sum("sent_bytes"), "silver", width=1.2, peak=True),
    ),
    new_axis=Axis,
    legend_columns=3,
    rows=_hostile_rows,
    empty_notice="no hostile clients in this run",
)

# By the name that `ShowPanels` uses.
PANELS = {
    "throughput": THROUGHPUT,
    "queues": QUEUES,
    "latency": LATENCY,
    "drops": DROPS,
    "heat": HEAT,
    "stages": STAGES,
    "waiting": WAITING,
    "service": SERVICE,
    "fairness": FAIRNESS,
    "ledger": LEDGER,
    "cost": COST,
    "hostile": HOSTILE,
}
