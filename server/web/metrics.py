"""The telemetry page as Prometheus metrics, for /metrics.

It keeps no state: each scrape reads the counters where the loops write them. Names and units follow Prometheus'
conventions: base units, `_total` on what only grows.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from server.ipc.page import Page
from server.kernels.layout import TICK_ROWS, stage_names

CONTENT_TYPE = CONTENT_TYPE_LATEST
_S_PER_NS = 1e-9


class _Row(NamedTuple):
    """A field of the page as a metric: a counter if its name ends in `_total`, else a gauge."""

    field: str
    name: str
    text: str
    scale: float = 1.0


_SERVER = (
    _Row("tick", "ticks_total", "Finished ticks."),
    _Row("tick_interval_ns", "tick_interval_seconds", "Tick interval now, stretched or not.", _S_PER_NS),
    _Row("tick_stretch_count", "tick_stretches_total", "Times a broadcast did not fit and the interval grew."),
    _Row("merged_count", "merged_pixels_total", "Distinct pixel changes in the deltas of all ticks."),
    _Row("encoded_bytes", "encoded_bytes_total", "Bytes of whole-canvas deltas, once each."),
    _Row("cpu_ns", "cpu_seconds_total", "Processor time of the server process.", _S_PER_NS),
    _Row("resident_bytes", "resident_memory_bytes", "Resident memory of the server process."),
    _Row("tls_failed_count", "tls_handshakes_failed_total", "TLS handshakes that failed, or did not come in time."),
)
_TICK = (
    _Row("lateness_ns", "tick_lateness_seconds", "How late the last tick began.", _S_PER_NS),
    _Row("encode_ns", "tick_encode_seconds", "Time the last tick took to encode its deltas.", _S_PER_NS),
    _Row("frame_bytes", "tick_frame_bytes", "Size of the last whole-canvas delta as sent."),
    _Row("in_flight_count", "in_flight_placements", "Placements received, not yet applied or refused."),
)
_LOOP = (
    _Row("connection_count", "connections", "Open WebSocket connections."),
    _Row("subscriber_count", "subscribers", "Connections that watch the canvas."),
    _Row("deflated_count", "connections_deflated", "Open connections that permessage-deflate was granted to."),
    _Row("accepted_count", "connections_accepted_total", "Sockets accepted."),
    _Row("closed_count", "connections_closed_total", "Sockets closed, by either side."),
    _Row("evicted_count", "connections_evicted_total", "Connections closed for stalling or for excess."),
    _Row("protocol_error_count", "protocol_errors_total", "Connections whose bytes broke the protocol."),
    _Row("received_count", "placements_received_total", "Placements decoded."),
    _Row("admitted_count", "placements_admitted_total", "Placements accepted (within bounds and rate limit)."),
    _Row("applied_count", "placements_applied_total", "Placements written to the canvas."),
    _Row("read_count", "socket_reads_total", "Reads of a socket that brought bytes."),
    _Row("received_bytes", "received_bytes_total", "Bytes received."),
    _Row("send_count", "socket_sends_total", "Writes to a socket."),
    _Row("sent_bytes", "sent_bytes_total", "Bytes sent."),
    _Row("delta_count", "deltas_sent_total", "DELTA messages sent."),
    _Row("delta_bytes", "delta_bytes_total", "Bytes of DELTA messages sent."),
    _Row("delta_pixel_count", "delta_pixels_total", "Pixel changes delivered, summed over connections."),
    _Row("conflated_count", "deltas_conflated_total", "DELTA messages made for one connection that lagged."),
    _Row("snapshot_count", "snapshots_sent_total", "SNAPSHOT messages sent."),
    _Row("handover_count", "handovers_total", "Times that bytes took the slow path."),
    _Row("ignored_count", "publications_ignored_total", "MQTT messages ignored: retained, or of another topic."),
    _Row("outbox_bytes", "outbox_bytes", "Bytes held for sockets that did not take them."),
    _Row("cpu_ns", "loop_cpu_seconds_total", "Processor time of the loop's thread.", _S_PER_NS),
)
_DROPS = (("throttled_count", "rate"), ("shed_count", "overload"), ("out_of_bounds_count", "out_of_bounds"))
_REJECTED = (("crowded_out_count", "address_connections"), ("hurried_out_count", "address_rate"))
_STAGE = (
    _Row("busy_ns", "stage_busy_seconds_total", "Service time of the stage, without waiting.", _S_PER_NS),
    _Row("batch_count", "stage_batches_total", "Batches the stage served."),
    _Row("item_count", "stage_items_total", "Items the stage served."),
    _Row("depth", "stage_queue_depth", "Items waiting in front of the stage when it last began."),
    _Row("depth_peak", "stage_queue_depth_peak", "The most items waiting in front of the stage since the last tick."),
    _Row("depth_max", "stage_queue_depth_limit", "Items that may wait in front of the stage."),
    _Row("drop_count", "stage_drops_total", "Items dropped in front of the stage."),
)


def _family(name: str, text: str, labels: tuple[str, ...]) -> Metric:
    name = f"pixelcanvas_{name}"
    if name.endswith("_total"):
        return CounterMetricFamily(name, text, labels=labels)
    return GaugeMetricFamily(name, text, labels=labels)


def _families(rows: tuple[_Row, ...], records: NDArray[Any], labels: tuple[str, ...]) -> Iterator[Metric]:
    """One family per row; a sample for each loop, or for the only record when there are no `labels`."""
    for row in rows:
        family = _family(row.name, row.text, labels)
        for index, value in enumerate(records[row.field].tolist()):
            family.add_metric([str(index)] if labels else [], value * row.scale)  # type: ignore[attr-defined]
        yield family


class PageCollector(Collector):
    """Reads a server's telemetry page at each scrape."""

    def __init__(self, telemetry: Page) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        """All families of the page."""
        server, loops, ticks = (self._telemetry[name] for name in ("server", "loops", "ticks"))
        # The newest row that is whole: `tick` is written after it.
        last = int(server["tick"][0]) % TICK_ROWS
        yield from _families(_SERVER, server, ())
        yield from _families(_TICK, ticks[last : last + 1], ())
        yield from _families(_LOOP, loops, ("loop",))
        yield self._by_reason(loops, "placements_dropped_total", "Placements dropped, by reason.", _DROPS)
        text = "Sockets closed at once for the limits of their address, by reason."
        yield self._by_reason(loops, "connections_turned_away_total", text, _REJECTED)
        yield from self._stages()

    @staticmethod
    def _by_reason(loops: NDArray[Any], name: str, text: str, reasons: tuple[tuple[str, str], ...]) -> Metric:
        family = _family(name, text, ("loop", "reason"))
        for field, reason in reasons:
            for loop, value in enumerate(loops[field].tolist()):
                family.add_metric([str(loop), reason], value)  # type: ignore[attr-defined]
        return family

    def _stages(self) -> Iterator[Metric]:
        stages = self._telemetry["stages"]
        for row in _STAGE:
            family = _family(row.name, row.text, ("loop", "stage"))
            for loop, values in enumerate(stages[row.field].tolist()):
                for stage, value in zip(stage_names(), values, strict=True):
                    family.add_metric([str(loop), stage], value * row.scale)  # type: ignore[attr-defined]
            yield family


def exposition(telemetry: Page) -> bytes:
    """The page as Prometheus' text format. Its type is `CONTENT_TYPE`."""
    # One per scrape: the library's global registry would keep collectors of servers that have ended.
    registry = CollectorRegistry()
    registry.register(PageCollector(telemetry))
    return generate_latest(registry)
