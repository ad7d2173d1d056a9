"""The figures of a run: one table of what is measured, from which every view of it derives.

A row is a field of `Figures`. It says the figure's unit, how it is measured over a span of time, which table of a
recording keeps it, and its names in the summary and in comparisons. From the rows derive the sample that the panels
draw (`history.SAMPLE`), `Reading` in workbench.telemetry, the columns of recordings and exports, the keys of the
summary, the metrics of a comparison, and the figures of a replay. So a new counter is a field of the telemetry page,
counted where the thing happens, and a row here.

Two lists stay apart: /metrics (`server.web.metrics`), whose counters are totals in Prometheus' units and which imports
nothing of the panels; and the arrays of a sample, one value for each stage or latency band (`history`).
"""

from dataclasses import Field, dataclass, field, fields
from enum import Enum
from typing import Any


class Better(Enum):
    """Which direction of a figure is an improvement."""

    MORE = 1
    LESS = -1
    NEITHER = 0


# The tables of a recording that keep figures. The panels draw those of samples; readings hold the others.
SAMPLES, READINGS = "samples", "readings"


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table."""

    name: str
    unit: str
    """One of "/s", "bytes/s", "ms", "cores", "ratio", "bytes", and "" for a count."""
    measure: tuple[Any, ...]
    """A method of `Span` in workbench.telemetry.counters and its arguments; () for what the sampler provides."""
    table: str
    """SAMPLES or READINGS."""
    column: str
    """Its name in that table, and in exports."""
    key: str
    """Its name in the summary, over the steady state; "": it is not there."""
    label: str
    """Its name in comparisons, where its median is compared under `key`; "": it is not compared."""
    better: Better

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole number."""
        return self.unit in ("", "bytes")

    @property
    def is_rate(self) -> bool:
        """Whether it is how fast a counter grows."""
        return bool(self.measure) and self.measure[0].endswith("_per_s")


def _figure(
    unit: str, *measure: Any, table: str = SAMPLES, column: str | None = None, key: str | None = "", label: str = "",
    better: Better = Better.NEITHER, default: int | None = None,
) -> Any:  # fmt: skip
    """A field with its row. A `column` or `key` of None is the field's name."""
    row = {"unit": unit, "measure": measure, "table": table, "column": column, "key": key, "label": label}
    return field(default=default, metadata={**row, "better": better})


def _rate(page: str, counter: str, label: str = "", *, unit: str = "/s", key: str | None = None, **names: Any) -> Any:
    """How fast a counter grows. `page`: "loops" (their sum), "server" or "fleet"."""
    return _figure(unit, f"{page}_per_s", counter, key=key, label=label, **names)


def _now(page: str, field_name: str, **names: Any) -> Any:
    """A field of a page as it is, not how fast it grows. `page`: "server" or "fleet"."""
    return _figure("", f"{page}_now", field_name, table=READINGS, **names)


def _view_latency(which: str, *measure: Any) -> Any:
    return _figure("ms", *measure, key=f"placement_to_view_ms_{which}", label=f"view {which}", better=Better.LESS)


def _cores(process: str) -> Any:
    return _figure("cores", f"{process}_cores", key=None, label=process, better=Better.LESS)


# The order of the rows is that of columns in recordings and exports, which must not change: new rows go to the end.
@dataclass(frozen=True, slots=True)
class Figures:
    """All figures at a moment; None where nothing is known. Rates are over the last second."""

    offered_per_s: float | None = _rate("fleet", "offered_count", "offered")
    received_per_s: float | None = _rate("loops", "received_count", "received")
    admitted_per_s: float | None = _rate("loops", "admitted_count", "admitted", better=Better.MORE)
    # The column has its name from when merged was called broadcast; files keep it.
    merged_per_s: float | None = _rate("server", "merged_count", "merged", column="broadcast_per_s")
    delivered_per_s: float | None = _rate("fleet", "delta_pixel_count", "delivered", better=Better.MORE)
    """Pixel changes, summed over viewers."""
    throttled_per_s: float | None = _rate("loops", "throttled_count", "throttled")
    shed_per_s: float | None = _rate("loops", "shed_count", "shed", better=Better.LESS)
    out_of_bounds_per_s: float | None = _rate("loops", "out_of_bounds_count")
    latency_ms_p50: float | None = _view_latency("p50", "latency_ms", 0.5)
    latency_ms_p99: float | None = _view_latency("p99", "latency_ms", 0.99)
    latency_ms_max: float | None = _view_latency("max", "latency_ms_max")
    fairness_index: float | None = _figure("ratio")
    """Jain's, over what was admitted per connection in the last second: 1/n to 1."""
    share_p5_per_s: float | None = _figure("/s")
    """Placements admitted per second that 5 % of the connections that send do not exceed."""
    share_p50_per_s: float | None = _figure("/s")
    share_p95_per_s: float | None = _figure("/s")
    sent_count: float | None = _figure("")
    """The ledger, since the start: sent = admitted + throttled + shed + out of bounds + in flight."""
    admitted_count: float | None = _figure("")
    throttled_count: float | None = _figure("")
    shed_count: float | None = _figure("")
    out_of_bounds_count: float | None = _figure("")
    in_flight_count: float | None = _figure("")
    """In sockets and queues."""
    server_cpu_cores: float | None = _cores("server")
    fleet_cpu_cores: float | None = _cores("fleet")
    panels_cpu_cores: float | None = _cores("panels")
    window_cpu_cores: float | None = _cores("window")

    sent_per_s: float | None = _rate("fleet", "sent_count", table=READINGS)
    """What the kernel took from the fleet; less than offered while the fleet, or what it writes to, cannot keep up."""
    conflated_per_s: float | None = _rate("loops", "conflated_count", table=READINGS, key="")
    """Deltas made for one laggard."""
    broadcast_deltas_per_s: float | None = _rate("loops", "delta_count", table=READINGS)
    broadcast_bytes_per_s: float | None = _rate("loops", "delta_bytes", table=READINGS, unit="bytes/s")
    lateness_ms_p99: float | None = _figure("ms", "lateness_ms", 0.99, table=READINGS, key=None)
    tick_ms: float | None = _figure("ms", table=READINGS)
    """The tick interval now; longer than configured while broadcasts do not fit into that."""
    connection_count: int | None = _now("fleet", "connection_count")
    subscriber_count: int = _now("fleet", "subscriber_count", default=0)
    watching_count: int = _figure("", table=READINGS, default=0)
    """Connections that watch by the server's books: also those that never read, and other clients."""
    lagging_count: int = _figure("", table=READINGS, default=0)
    """Viewers that lack several broadcasts."""
    over_limit_count: int | None = _figure("", table=READINGS)
    """Connections that the rate limit refused something in the last second."""
    stalled_count: int = _now("fleet", "stalled_count", default=0)
    """Devices that a fault stalls now."""
    lost_count: int | None = _now("fleet", "lost_count")
    protocol_error_count: int = _figure("", table=READINGS, default=0)
    ledger_gap: int | None = _now("server", "ledger_gap")
    """Placements that the server's ledger of the last tick cannot account for: 0, or there is a bug."""
    server_resident_bytes: int | None = _figure("bytes", table=READINGS)
    window_fps: float | None = _figure("/s", "window_fps", table=READINGS, key=None)
    utilisation_ratio: float | None = _figure("ratio", "busiest_loop_ratio", table=READINGS, key=None)
    """Busy time of the server's busiest loop / elapsed time, 0..1; the tick's encoding holds up every loop."""


def _row(one: Field[Any]) -> Figure:
    given: dict[str, Any] = {what: one.name if value is None else value for what, value in one.metadata.items()}
    return Figure(name=one.name, **given)


FIGURES = tuple(_row(one) for one in fields(Figures))
SAMPLED = tuple(figure for figure in FIGURES if figure.table == SAMPLES)
UNSAMPLED = tuple(figure for figure in FIGURES if figure.table == READINGS)

for _names in ([one.column for one in SAMPLED], [one.key for one in FIGURES if one.key]):
    assert len(set(_names)) == len(_names), f"a name is there twice: {_names}"
assert all(one.table == SAMPLES and one.key for one in FIGURES if one.label), (
    "compared is what samples and summary have"
)
assert {one.table for one in FIGURES} == {SAMPLES, READINGS}
