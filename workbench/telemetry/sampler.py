"""Takes a sample of the counters ten times per second, for the window, the live table, the panels and recordings.

It reads the shared pages of server and fleet and writes one, the history that the panels draw: one sample an interval,
in the order of time. Which figures there are, and how each is measured, is the table of `plots.figures`.
"""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.hostile.counters import hostile_sample
from plots.figures import FIGURES, SAMPLED
from plots.history import SAMPLE, SAMPLE_INTERVAL_NS
from server.ipc.page import Page
from server.kernels import layout
from workbench.scenarios.scenario import Scenario
from workbench.telemetry.census import Census, CensusTaker
from workbench.telemetry.counters import NANOSECONDS, Counters, Span, read_counters
from workbench.telemetry.histogram import latency_bands, maximum_ms, quantile_ms
from workbench.telemetry.history import History, sample_of
from workbench.telemetry.pages import SessionPages
from workbench.telemetry.pipeline import StageFigures, stage_figures, stage_readings
from workbench.telemetry.tick_log import RecentTicks, TickLog
from workbench.telemetry.view import Marker, Reading, StageReading, TileBox

# The time that rates cover: long enough that a tick or a batched write is one of many, and not a spike.
_SPAN_NS = NANOSECONDS
# A saturated mailbox server publishes its counters seconds apart. Its rates then cover the time since it last did.
_SPAN_NS_MAX = 10 * NANOSECONDS


class Sampler:
    """Keeps the last second of counters and the ticks since the start."""

    def __init__(self, pages: SessionPages, scenario: Scenario) -> None:
        self._pages = pages
        self.scenario = scenario
        """The present settings, with which some figures are compared. A caller that changes settings sets this too."""
        self._recent: deque[Counters] = deque()
        self._next_ns = 0
        self._recent_ticks = RecentTicks(_SPAN_NS)
        self._history = History(pages.history)
        self._census = CensusTaker(pages.connections["connections"])
        self._region: Region | None = None
        self.picture_count = self.redraw_count = 0
        self._others_count = 0
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
        """The region that the history is of; None: the whole canvas. The reading is always of the whole canvas."""
        return self._region.box if self._region else None

    @brush.setter
    def brush(self, box: TileBox | None) -> None:
        """Select the region from the next sample on."""
        self._region = Region(box, self._pages.canvas, self._pages.fleet) if box is not None else None

    @property
    def markers(self) -> tuple[Marker, ...]:
        """The newest events of the run, oldest first."""
        return self._history.markers

    def mark(self, time_ns: int, kind: str, text: str) -> None:
        """Add a line to the panels' time axis. `kind`: knob, fault, brake or note."""
        self._history.mark(time_ns, kind, text)

    def due_ns(self) -> int:
        """When the next sample is due."""
        return self._next_ns

    def poll(self, now_ns: int) -> bool:
        """Take a sample if one is due. Returns whether it was taken."""
        if now_ns < self._next_ns:
            return False
        # A late sample does not bring others after it in quick succession: the interval starts again from now.
        late = self._next_ns == 0 or now_ns - self._next_ns > SAMPLE_INTERVAL_NS
        self._next_ns = (now_ns if late else self._next_ns) + SAMPLE_INTERVAL_NS
        self.take(now_ns)
        return True

    def take(self, now_ns: int) -> Counters:
        """Take a sample now, whether due or not."""
        counters = read_counters(self._pages, self.picture_count, now_ns, self.redraw_count)
        # No counter says who sent a placement. What was ever received beyond what the fleet had sent is of others; that
        # is all of theirs once the fleet has had nothing in flight since.
        self._others_count = max(self._others_count, counters.others_least())
        before = self.latest or counters
        assert now_ns >= before.time_ns, "samples are in the order of time"
        is_news = self._is_news(before, counters)
        self._recent.append(counters)
        self._drop_old(now_ns)
        self.new_ticks = self.ticks.collect()
        self._recent_ticks.add(now_ns, self.new_ticks)
        tick_ns = int(counters.server["tick_interval_ns"])
        census = self._census.poll(now_ns, self._recent_ticks.changed_tick, tick_ns)
        span = Span(self._recent[0], counters)
        depth_peak = self._recent_ticks.depth_peak
        figures = stage_figures(self._recent, depth_peak)
        self.reading = self._read(span, census, is_news=is_news)
        if is_news:
            viewer_brake_us = self.scenario.fleet.viewer_brake_us
            self.stages = stage_readings(
                figures, self._recent, depth_peak, self.scenario.server, viewer_brake_us, census.lacked_count
            )
        self._write_history(span, Span(before, counters), figures)
        return counters

    def _is_news(self, before: Counters, counters: Counters) -> bool:
        """Whether the server has published its counters since. Compiled loops always have: they count on the page."""
        is_published_at_ticks = self.scenario.server.loop == "mailbox"
        return not is_published_at_ticks or bool(before.server["heartbeat_ns"] != counters.server["heartbeat_ns"])

    def _drop_old(self, now_ns: int) -> None:
        """Keep as the oldest counters the newest that are a second old, and that were news when they were read."""
        recent = self._recent
        firsts = [
            index
            for index in range(1, len(recent) - 1)
            if now_ns - recent[index].time_ns >= _SPAN_NS and self._is_news(recent[index - 1], recent[index])
        ]
        for _ in range(firsts[-1] if firsts else 0):
            recent.popleft()
        while now_ns - recent[0].time_ns > _SPAN_NS_MAX:
            recent.popleft()

    def _read(self, span: Span, census: Census, *, is_news: bool) -> Reading:
        """All figures: those that no method of `Span` measures are given here."""
        last, server, fleet = span.last, self.scenario.server, self.scenario.fleet
        is_served = last.server_alive
        given: dict[str, Any] = asdict(census) | last.ledger(self._others_count)
        given["tick_ms"] = int(last.server["tick_interval_ns"]) / 1e6 if is_served else None
        given["protocol_error_count"] = last.loop_sum("protocol_error_count") + int(last.fleet["protocol_error_count"])
        given["server_resident_bytes"] = int(last.server["resident_bytes"]) or None
        if not is_news:  # The loops were busy since, but have not published how busy.
            given["utilisation_ratio"] = self.reading.utilisation_ratio
        figures = {one.name: span.measure(one) for one in FIGURES if one.measure}
        figures |= {one.name: given[one.name] for one in FIGURES if one.name in given}
        return Reading(
            **{name: value for name, value in figures.items() if value is not None},
            tick=int(last.server["tick"]),
            tick_ms_configured=server.tick_ms if is_served else None,
            redraws_per_s=span.redraws_per_s(),
            tick_ms_mean=self._recent_ticks.interval_ms(last.time_ns),
            rate_limit_per_s=server.rate_per_s if is_served else None,
            connection_target=fleet.connections,
            loop_connection_counts=tuple(last.loops["connection_count"].tolist()),
            is_behind_broker=fleet.transport == "mqtt",
        )

    def _write_history(self, span: Span, newest: Span, figures: StageFigures | None) -> None:
        """Write one sample. `newest`: the time since the sample before."""
        # Latencies by band and peaks are of the time since the sample before: the panels add them up themselves.
        fields: dict[str, Any] = {one.column: getattr(self.reading, one.name) for one in SAMPLED}
        fields |= {
            "time_ns": span.last.time_ns,
            "latency_counts": latency_bands(newest.last.latency - newest.first.latency),
            "depth_peak": self._recent_ticks.newest_depth_peak if span.last.server_alive else None,
            "utilisation_ratio": span.stage_utilisation(),
            "hostile": hostile_sample(self._pages.hostile["hostile"]),
        }
        if figures is not None:
            fields |= {"service_us": figures.service_us, "waiting_ms": figures.waiting_ms}
        self.sample = sample_of(fields)
        region = self._region
        self._history.write(self.sample if region is None else sample_of(fields | region.look(span.last.time_ns)))


@dataclass(frozen=True, slots=True)
class _Look:
    time_ns: int
    counts: dict[str, int]
    """Of the region's tiles, by the names of the figures that are their rates."""
    latency: NDArray[Any]


# The rates that are known of single tiles, and the counters of a tile that they come from.
_TILE_COUNTS = {"admitted_per_s": "applied_count", "merged_per_s": "merged_count", "throttled_per_s": "throttled_count"}


class Region:
    """A brushed region: rates of its tiles, and the latency of what was placed there, over the last second."""

    def __init__(self, box: TileBox, canvas: Page, fleet: Page) -> None:
        self.box = box
        self._tiles = canvas["tiles"][box.y0 : box.y1, box.x0 : box.x1]
        self._latency = fleet["brushed_latency"]
        self._latency_max_us = fleet["brushed_latency_max_us"]
        self._looks: deque[_Look] = deque()

    def look(self, now_ns: int) -> dict[str, Any]:
        """The fields of a sample that differ from the whole canvas. Rates that are not counted by tile are None."""
        counts = {rate: int(self._tiles[count].sum()) for rate, count in _TILE_COUNTS.items()}
        now = _Look(now_ns, counts, self._latency.copy())
        before = self._looks[-1] if self._looks else now
        self._looks.append(now)
        while len(self._looks) > 2 and now_ns - self._looks[1].time_ns >= _SPAN_NS:
            self._looks.popleft()
        first, max_us = self._looks[0], int(self._latency_max_us[0])
        seconds = (now_ns - first.time_ns) / NANOSECONDS
        rates = {name: (now.counts[name] - first.counts[name]) / seconds for name in now.counts} if seconds > 0 else {}
        seen = _latency_between(first, now)
        return {
            **{one.column: rates.get(one.name) for one in SAMPLED if one.is_rate},
            "latency_ms_p50": quantile_ms(seen, max_us, 0.5),
            "latency_ms_p99": quantile_ms(seen, max_us, 0.99),
            "latency_ms_max": maximum_ms(seen, max_us),
            "latency_counts": latency_bands(_latency_between(before, now)),
        }


def _latency_between(first: _Look, last: _Look) -> NDArray[Any]:
    """The histogram of the latencies between two looks; empty when the fleet has cleared its histogram between them."""
    seen = last.latency - first.latency
    return np.zeros_like(seen) if (seen < 0).any() else seen
