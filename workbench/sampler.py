"""Samples the counters ten times a second: rates over the last second, for the window, the table and the panels.

It reads the shared pages of server and fleet and writes one: the history that the panels draw. It decides nothing.
Invariant: the history holds one sample an interval, in time order; what is not known is NaN there and None here.
"""

from collections import deque

import numpy as np

from server.kernels import layout
from workbench.counters import NANOSECONDS, Counters, Span, read_counters
from workbench.pages import SessionPages
from workbench.tick_log import TickLog
from workbench.view import Reading

_SPAN_NS = NANOSECONDS
"""Rates are over so long: a tick or a batched write is then one of many, and not a spike of its own."""


class Sampler:
    """Keeps the last second of counters and the ticks since the start."""

    def __init__(self, pages: SessionPages, connection_target: int, tick_ms: int | None = None) -> None:
        self._pages = pages
        self._tick_ms = tick_ms
        self._connection_target = connection_target
        self._recent: deque[Counters] = deque()
        self._next_ns = 0
        self._depth_peak = np.zeros(layout.STAGE_COUNT, np.float32)
        self.redraw_count = 0
        self.ticks = TickLog(pages.telemetry)
        self.reading = Reading(connection_target=connection_target)

    @property
    def latest(self) -> Counters | None:
        """The newest counters, or None before the first sample."""
        return self._recent[-1] if self._recent else None

    def due_ns(self) -> int:
        """When the next sample is to be taken."""
        return self._next_ns

    def poll(self, now_ns: int) -> bool:
        """Take a sample if one is due. True when it was taken."""
        if now_ns < self._next_ns:
            return False
        late = self._next_ns == 0 or now_ns - self._next_ns > layout.SAMPLE_INTERVAL_NS
        self._next_ns = (now_ns if late else self._next_ns) + layout.SAMPLE_INTERVAL_NS
        self.take(now_ns)
        return True

    def take(self, now_ns: int) -> Counters:
        """Take a sample now, whether due or not."""
        counters = read_counters(self._pages, self.redraw_count, now_ns)
        self._recent.append(counters)
        while len(self._recent) > 2 and now_ns - self._recent[1].time_ns >= _SPAN_NS:
            self._recent.popleft()
        rows = self.ticks.collect()
        if len(rows):
            self._depth_peak = rows["depth_peak"].max(axis=0).astype(np.float32)
        span = Span(self._recent[0], counters)
        self.reading = self._read(span)
        self._write_history(span, self.reading)
        return counters

    def _read(self, span: Span) -> Reading:
        last = span.last
        return Reading(
            offered_per_s=span.fleet_per_s("offered_count"),
            received_per_s=span.loops_per_s("received_count"),
            admitted_per_s=span.loops_per_s("admitted_count"),
            throttled_per_s=span.loops_per_s("throttled_count"),
            shed_per_s=span.loops_per_s("shed_count"),
            out_of_bounds_per_s=span.loops_per_s("out_of_bounds_count"),
            merged_per_s=span.server_per_s("merged_count"),
            delivered_per_s=span.fleet_per_s("delta_pixel_count"),
            broadcast_deltas_per_s=span.loops_per_s("delta_count"),
            broadcast_bytes_per_s=span.loops_per_s("delta_bytes"),
            latency_ms_p50=span.latency_ms(0.5),
            latency_ms_p99=span.latency_ms(0.99),
            latency_ms_max=span.latency_ms_max(),
            lateness_ms_p99=span.lateness_ms(0.99),
            tick=int(last.server["tick"]),
            tick_ms=int(last.server["tick_interval_ns"]) / 1e6 if last.server_alive else None,
            tick_ms_configured=self._tick_ms,
            loop_connection_counts=tuple(last.loops["connection_count"].tolist()),
            connection_count=int(last.fleet["connection_count"]),
            connection_target=self._connection_target,
            subscriber_count=int(last.fleet["subscriber_count"]),
            lost_count=int(last.fleet["lost_count"]),
            protocol_error_count=last.loop_sum("protocol_error_count") + int(last.fleet["protocol_error_count"]),
            ledger_gap=int(last.server["ledger_gap"]) if last.server_alive else None,
            server_cpu_cores=span.server_cores(),
            fleet_cpu_cores=span.fleet_cores(),
            panels_cpu_cores=span.panels_cores(),
            window_cpu_cores=span.window_cores(),
            window_fps=span.window_fps(),
            server_resident_bytes=int(last.server["resident_bytes"]) or None,
            utilisation_ratio=span.busiest_loop_ratio(),
        )

    def _write_history(self, span: Span, reading: Reading) -> None:
        """Write the row, then the head that makes it visible."""
        head = self._pages.history["head"]
        row = self._pages.history["samples"][int(head[0]) % layout.SAMPLE_ROWS]
        row["time_ns"] = span.last.time_ns
        for field in ("offered", "received", "admitted", "delivered", "throttled", "shed", "out_of_bounds"):
            row[f"{field}_per_s"] = _known(getattr(reading, f"{field}_per_s"))
        row["broadcast_per_s"] = _known(reading.merged_per_s)
        for field in ("latency_ms_p50", "latency_ms_p99", "latency_ms_max"):
            row[field] = _known(getattr(reading, field))
        row["depth_peak"] = self._depth_peak
        row["utilisation_ratio"] = span.stage_utilisation()
        head[0] += 1


def _known(value: float | None) -> float:
    return float("nan") if value is None else value
