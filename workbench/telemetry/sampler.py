"""Samples the counters ten times a second: rates over the last second, for the window, the table and the panels.

It reads the shared pages of server and fleet and writes one: the history that the panels draw. It decides nothing.
Invariant: the history holds one sample an interval, in time order; what is not known is NaN there and None here.
"""

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.hostile.tally import hostile_sample
from plots.history import SAMPLE, SAMPLE_INTERVAL_NS
from server.kernels import layout
from workbench.scenarios.scenario import Scenario
from workbench.telemetry.census import Census, CensusTaker
from workbench.telemetry.counters import NANOSECONDS, Counters, Span, read_counters
from workbench.telemetry.history import History, sample_of
from workbench.telemetry.latency_band import latency_bands
from workbench.telemetry.pages import SessionPages
from workbench.telemetry.pipeline import StageFigures, stage_figures, stage_readings
from workbench.telemetry.region import Brushed
from workbench.telemetry.tick_log import RecentTicks, TickLog
from workbench.telemetry.view import Marker, Reading, StageReading, TileBox

_SPAN_NS = NANOSECONDS
"""Rates are over so long: a tick or a batched write is then one of many, and not a spike of its own."""
_SPAN_NS_MAX = 10 * NANOSECONDS
"""A jammed server of mailboxes tells nothing for seconds. Its rates are then since it last told something."""
_PER_S = ("offered", "received", "admitted", "delivered", "throttled", "shed", "out_of_bounds")
_LATENCIES = ("latency_ms_p50", "latency_ms_p99", "latency_ms_max")
_CORES = ("server_cpu_cores", "fleet_cpu_cores", "panels_cpu_cores", "window_cpu_cores")


class Sampler:
    """Keeps the last second of counters and the ticks since the start."""

    def __init__(self, pages: SessionPages, scenario: Scenario) -> None:
        self._pages = pages
        self.scenario = scenario
        """The present settings, which some figures are held against. Whoever changes them says so here."""
        self._recent: deque[Counters] = deque()
        self._next_ns = 0
        self._recent_ticks = RecentTicks(_SPAN_NS)
        self._history = History(pages.history)
        self._census = CensusTaker(pages.connections["connections"])
        self._brushed: Brushed | None = None
        self.redraw_count = 0
        self.ticks = TickLog(pages.telemetry)
        self.reading = Reading(connection_target=scenario.fleet.connections)
        self.stages: tuple[StageReading, ...] = ()
        self.sample: NDArray[Any] = np.zeros((), SAMPLE)
        """The newest sample of the whole canvas, shape (), dtype SAMPLE, whatever is brushed."""
        self.new_ticks: NDArray[Any] = np.zeros(0, layout.TICK)
        """The ticks since the sample before it, dtype TICK."""

    @property
    def latest(self) -> Counters | None:
        """The newest counters, or None before the first sample."""
        return self._recent[-1] if self._recent else None

    @property
    def brush(self) -> TileBox | None:
        """The region that the history is of; None: all of the canvas. The reading is always of all."""
        return self._brushed.box if self._brushed else None

    @brush.setter
    def brush(self, box: TileBox | None) -> None:
        """Show this region from the next sample on."""
        self._brushed = Brushed(box, self._pages.canvas, self._pages.fleet) if box is not None else None

    @property
    def markers(self) -> tuple[Marker, ...]:
        """What was done to the run lately, oldest first."""
        return self._history.markers

    def mark(self, time_ns: int, kind: str, text: str) -> None:
        """Note what was done to the run: a line on the panels' time axis. `kind`: knob, fault, brake or note."""
        self._history.mark(time_ns, kind, text)

    def due_ns(self) -> int:
        """When the next sample is to be taken."""
        return self._next_ns

    def poll(self, now_ns: int) -> bool:
        """Take a sample if one is due. True when it was taken."""
        if now_ns < self._next_ns:
            return False
        late = self._next_ns == 0 or now_ns - self._next_ns > SAMPLE_INTERVAL_NS
        self._next_ns = (now_ns if late else self._next_ns) + SAMPLE_INTERVAL_NS
        self.take(now_ns)
        return True

    def take(self, now_ns: int) -> Counters:
        """Take a sample now, whether due or not."""
        counters = read_counters(self._pages, self.redraw_count, now_ns)
        before = self.latest or counters
        has_news = self._tells_news(before, counters)
        self._recent.append(counters)
        self._forget(now_ns)
        self.new_ticks = self.ticks.collect()
        self._recent_ticks.add(now_ns, self.new_ticks)
        tick_ns = int(counters.server["tick_interval_ns"])
        census = self._census.poll(now_ns, self._recent_ticks.changed_tick, tick_ns)
        span = Span(self._recent[0], counters)
        depth_peak = self._recent_ticks.depth_peak
        figures = stage_figures(self._recent, depth_peak)
        busy = span.busiest_loop_ratio() if has_news else self.reading.utilisation_ratio
        self.reading = replace(self._read(span, census), utilisation_ratio=busy)
        if has_news:
            viewer_brake_us = self.scenario.fleet.viewer_brake_us
            self.stages = stage_readings(
                figures, self._recent, depth_peak, self.scenario.server, viewer_brake_us, census.lacked_count
            )
        self._write_history(span, Span(before, counters), figures, census)
        return counters

    def _tells_news(self, before: Counters, counters: Counters) -> bool:
        """Whether the server has told anything since. Compiled loops always do: they count on the page itself."""
        is_told_at_ticks = self.scenario.server.loop == "mailbox"
        return not is_told_at_ticks or bool(before.server["heartbeat_ns"] != counters.server["heartbeat_ns"])

    def _forget(self, now_ns: int) -> None:
        """Let the oldest counters be the newest that are a second old, and were news when they were read."""
        recent = self._recent
        firsts = [
            index
            for index in range(1, len(recent) - 1)
            if now_ns - recent[index].time_ns >= _SPAN_NS and self._tells_news(recent[index - 1], recent[index])
        ]
        for _ in range(firsts[-1] if firsts else 0):
            recent.popleft()
        while now_ns - recent[0].time_ns > _SPAN_NS_MAX:
            recent.popleft()

    def _read(self, span: Span, census: Census) -> Reading:
        last = span.last
        is_served = last.server_alive
        return Reading(
            offered_per_s=span.fleet_per_s("offered_count"),
            sent_per_s=span.fleet_per_s("sent_count"),
            received_per_s=span.loops_per_s("received_count"),
            admitted_per_s=span.loops_per_s("admitted_count"),
            throttled_per_s=span.loops_per_s("throttled_count"),
            shed_per_s=span.loops_per_s("shed_count"),
            out_of_bounds_per_s=span.loops_per_s("out_of_bounds_count"),
            merged_per_s=span.server_per_s("merged_count"),
            delivered_per_s=span.fleet_per_s("delta_pixel_count"),
            conflated_per_s=span.loops_per_s("conflated_count"),
            broadcast_deltas_per_s=span.loops_per_s("delta_count"),
            broadcast_bytes_per_s=span.loops_per_s("delta_bytes"),
            latency_ms_p50=span.latency_ms(0.5),
            latency_ms_p99=span.latency_ms(0.99),
            latency_ms_max=span.latency_ms_max(),
            lateness_ms_p99=span.lateness_ms(0.99),
            tick=int(last.server["tick"]),
            tick_ms=int(last.server["tick_interval_ns"]) / 1e6 if is_served else None,
            tick_ms_configured=self.scenario.server.tick_ms if is_served else None,
            tick_ms_mean=self._recent_ticks.interval_ms(last.time_ns),
            rate_limit_per_s=self.scenario.server.rate_per_s if is_served else None,
            loop_connection_counts=tuple(last.loops["connection_count"].tolist()),
            connection_count=int(last.fleet["connection_count"]) if last.fleet_alive else None,
            connection_target=self.scenario.fleet.connections,
            subscriber_count=int(last.fleet["subscriber_count"]),
            watching_count=census.watching_count,
            lagging_count=census.lagging_count,
            over_limit_count=census.over_limit_count,
            is_behind_broker=self.scenario.fleet.transport == "mqtt",
            stalled_count=int(last.fleet["stalled_count"]),
            lost_count=int(last.fleet["lost_count"]) if last.fleet_alive else None,
            protocol_error_count=last.loop_sum("protocol_error_count") + int(last.fleet["protocol_error_count"]),
            ledger_gap=int(last.server["ledger_gap"]) if is_served else None,
            server_cpu_cores=span.server_cores(),
            fleet_cpu_cores=span.fleet_cores(),
            panels_cpu_cores=span.panels_cores(),
            window_cpu_cores=span.window_cores(),
            window_fps=span.window_fps(),
            server_resident_bytes=int(last.server["resident_bytes"]) or None,
        )

    def _write_history(self, span: Span, newest: Span, figures: StageFigures | None, census: Census) -> None:
        """Write one sample. `newest`: the time since the sample before."""
        reading = self.reading
        fields: dict[str, Any] = {f"{name}_per_s": getattr(reading, f"{name}_per_s") for name in _PER_S}
        fields |= {name: getattr(reading, name) for name in (*_LATENCIES, *_CORES)}
        fields |= {
            "time_ns": span.last.time_ns,
            "broadcast_per_s": reading.merged_per_s,
            "latency_counts": latency_bands(newest.last.latency - newest.first.latency),
            "depth_peak": self._recent_ticks.newest_depth_peak if span.last.server_alive else None,
            "utilisation_ratio": span.stage_utilisation(),
            "fairness_index": census.fairness_index,
            "hostile": hostile_sample(self._pages.hostile["hostile"]),
        }
        if figures is not None:
            fields |= {"service_us": figures.service_us, "waiting_ms": figures.waiting_ms}
        if census.shares_per_s is not None:
            names = ("share_p5_per_s", "share_p50_per_s", "share_p95_per_s")
            fields |= dict(zip(names, census.shares_per_s, strict=True))
        fields |= span.last.ledger()
        self.sample = sample_of(fields)
        brushed = self._of_brushed(span.last.time_ns)
        self._history.write(sample_of(fields | brushed) if brushed else self.sample)

    def _of_brushed(self, now_ns: int) -> dict[str, Any]:
        """What the brushed region has to say in place of the whole; nothing without one."""
        if self._brushed is None:
            return {}
        region = self._brushed.look(now_ns)
        unknown = dict.fromkeys(f"{name}_per_s" for name in _PER_S)
        return unknown | {
            "admitted_per_s": region.applied_per_s,
            "broadcast_per_s": region.merged_per_s,
            "throttled_per_s": region.throttled_per_s,
            **{name: getattr(region, name) for name in _LATENCIES},
            "latency_counts": latency_bands(region.latency),
        }
