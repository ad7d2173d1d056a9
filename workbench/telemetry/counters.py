"""All counters of a session at one moment, copied from the shared pages, and the figures between two moments.

Copying blocks no writer: counters only grow, so the difference of two copies is a true count. A figure of a process
that has not yet written its page is None, never 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.figures import Figure
from server.kernels import layout
from server.system import clock
from workbench.telemetry.histogram import maximum_ms, quantile_ms
from workbench.telemetry.pages import SessionPages

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Counters:
    """The contents of the pages at `time_ns`. The arrays are copies."""

    time_ns: int
    server: NDArray[Any]
    """Shape (), dtype layout.SERVER."""
    loops: NDArray[Any]
    """Shape (loops,), dtype layout.LOOP."""
    stages: NDArray[Any]
    """Shape (loops, STAGE_COUNT), dtype layout.STAGE."""
    fleet: NDArray[Any]
    """Shape (), dtype layout.FLEET."""
    latency: NDArray[np.uint64]
    """Placement-to-view histogram, shape (HISTOGRAM_BUCKETS,)."""
    latency_max_us: int
    lateness: NDArray[np.uint64]
    """Behind the intended send time, shape (HISTOGRAM_BUCKETS,)."""
    lateness_max_us: int
    panels_cpu_ns: int
    """Processor time of the process that draws the panels; 0 without one."""
    own_cpu_ns: int
    """Processor time of this process: window, table and sampling."""
    picture_count: int
    """Pictures that the window has brought to the display; 0 without one."""
    redraw_count: int
    """Times that it looked for something to redraw, of which most may have found nothing; 0 without one."""

    @property
    def server_alive(self) -> bool:
        """The server has written its page."""
        return int(self.server["heartbeat_ns"]) > 0

    @property
    def fleet_alive(self) -> bool:
        """The fleet has written its page."""
        return int(self.fleet["heartbeat_ns"]) > 0

    def loop_sum(self, field: str) -> int:
        """A LOOP counter over all loops."""
        return int(self.loops[field].sum())

    def others_least(self) -> int:
        """The least that other clients than the fleet must have placed by now; 0 where nothing is known."""
        is_known = self.server_alive and self.fleet_alive
        return max(0, self.loop_sum("received_count") - int(self.fleet["sent_count"])) if is_known else 0

    def ledger(self, others_count: int = 0) -> dict[str, float]:
        """Where every placement went since the start, by the names of figures; without what is not known.

        `in_flight_count` is what the other sides do not have yet: in sockets and queues. `others_count`: placements of
        other clients, which the fleet did not send.
        """
        if not self.server_alive:
            return {"sent_count": float(self.fleet["sent_count"])} if self.fleet_alive else {}
        names = ("admitted_count", "throttled_count", "shed_count", "out_of_bounds_count")
        sides = {name: float(self.loop_sum(name)) for name in names}
        if not self.fleet_alive:
            return sides
        sent = float(self.fleet["sent_count"])
        done = sum(sides.values())
        # What the server has received and not yet decided waits in its queues, whoever sent it. Pages are not read at
        # one moment, so either difference may be negative.
        waiting = self.loop_sum("received_count") - done
        return sides | {"sent_count": sent, "in_flight_count": max(0.0, sent + others_count - done, waiting)}


def read_counters(pages: SessionPages, picture_count: int, now_ns: int, redraw_count: int = 0) -> Counters:
    """Copy the counters of all pages."""
    # Each array is copied at once, but not all at one moment: sums over pages may be off by what happens meanwhile.
    telemetry, fleet = pages.telemetry, pages.fleet
    return Counters(
        time_ns=now_ns,
        server=telemetry["server"][0].copy(),
        loops=telemetry["loops"].copy(),
        stages=telemetry["stages"].copy(),
        fleet=fleet["fleet"][0].copy(),
        latency=fleet["latency"].copy(),
        latency_max_us=int(fleet["latency_max_us"][0]),
        lateness=fleet["lateness"].copy(),
        lateness_max_us=int(fleet["lateness_max_us"][0]),
        panels_cpu_ns=int(pages.picture["cpu_ns"][0]),
        own_cpu_ns=clock.process_cpu_ns(),
        picture_count=picture_count,
        redraw_count=redraw_count,
    )


class Span:
    """The time between two readings of the counters; each figure is None where nothing is known."""

    def __init__(self, first: Counters, last: Counters) -> None:
        self.first = first
        self.last = last
        self.seconds = (last.time_ns - first.time_ns) / NANOSECONDS

    def measure(self, figure: Figure) -> Any:
        """A figure of the table, by the method that its row names."""
        method, *arguments = figure.measure
        return getattr(self, method)(*arguments)

    def loops_per_s(self, field: str) -> float | None:
        """Rate of a LOOP counter, summed over loops."""
        return self._per_s(self.first.loop_sum(field), self.last.loop_sum(field), is_known=self.last.server_alive)

    def server_per_s(self, field: str) -> float | None:
        """Rate of a SERVER counter."""
        return self._per_s(self.first.server[field], self.last.server[field], is_known=self.last.server_alive)

    def fleet_per_s(self, field: str) -> float | None:
        """Rate of a FLEET counter."""
        return self._per_s(self.first.fleet[field], self.last.fleet[field], is_known=self.last.fleet_alive)

    def server_now(self, field: str) -> int | None:
        """A SERVER field at the end."""
        return int(self.last.server[field]) if self.last.server_alive else None

    def fleet_now(self, field: str) -> int | None:
        """A FLEET field at the end."""
        return int(self.last.fleet[field]) if self.last.fleet_alive else None

    def _per_s(self, first: Any, last: Any, *, is_known: bool = True) -> float | None:
        # Counters have one writer and only grow; a reader that subtracts relies on it.
        assert last >= first, f"a counter went back from {first} to {last}"
        return int(last - first) / self.seconds if is_known and self.seconds > 0 else None

    def server_cores(self) -> float | None:
        """Processor cores that the server used."""
        return _cores(self.first.server, self.last.server)

    def fleet_cores(self) -> float | None:
        """Processor cores that the fleet used."""
        return _cores(self.first.fleet, self.last.fleet)

    def panels_cores(self) -> float | None:
        """Processor cores that drawing the panels used; None without panels."""
        used_ns = self.last.panels_cpu_ns - self.first.panels_cpu_ns
        is_known = self.last.panels_cpu_ns > 0 and self.seconds > 0
        return used_ns / (self.seconds * NANOSECONDS) if is_known else None

    def window_cores(self) -> float | None:
        """Processor cores that this process used while it showed a window; None without one."""
        return None if self.window_fps() is None else self.own_cores()

    def own_cores(self) -> float | None:
        """Processor cores that this process used."""
        used = self._per_s(self.first.own_cpu_ns, self.last.own_cpu_ns)
        return None if used is None else used / NANOSECONDS

    def window_fps(self) -> float | None:
        """Pictures per second that the window brought to the display; None without one."""
        return self._per_s(self.first.picture_count, self.last.picture_count, is_known=self.last.picture_count > 0)

    def redraws_per_s(self) -> float | None:
        """Times per second that the window looked for something to redraw; None without one."""
        return self._per_s(self.first.redraw_count, self.last.redraw_count, is_known=self.last.redraw_count > 0)

    def stage_utilisation(self) -> NDArray[np.float64]:
        """Busy time over time, 0..1, of each stage, shape (STAGE_COUNT,), the mean over loops; NaN where not known."""
        if not self.last.server_alive or self.seconds <= 0:
            return np.full(layout.STAGE_COUNT, np.nan)
        busy = (self.last.stages["busy_ns"] - self.first.stages["busy_ns"]).sum(axis=0)
        ratio: NDArray[np.float64] = busy / (self.seconds * NANOSECONDS * len(self.last.loops))
        return ratio

    def loop_busy_ns(self) -> NDArray[np.int64]:
        """Busy time of each loop, shape (loops,)."""
        busy = self.last.stages["busy_ns"] - self.first.stages["busy_ns"]
        encode = layout.Stage.ENCODE
        # Only the first loop's row counts the encoding, but all loops wait for it.
        total: NDArray[np.int64] = busy.sum(axis=1) - busy[:, encode] + busy[0, encode]
        return total

    def busiest_loop_ratio(self) -> float | None:
        """Busy time over time, 0..1, of the loop that has the most to do."""
        if not self.last.server_alive or self.seconds <= 0:
            return None
        # A brake adds time that passes while other stages work, so the sum may exceed the elapsed time.
        return min(1.0, float(self.loop_busy_ns().max()) / (self.seconds * NANOSECONDS))

    def latency_ms(self, quantile: float) -> float | None:
        """Placement-to-view latency that `quantile` (0..1) of what was seen does not exceed."""
        return quantile_ms(self.last.latency - self.first.latency, self.last.latency_max_us, quantile)

    def latency_ms_max(self) -> float | None:
        """The longest placement-to-view latency."""
        return maximum_ms(self.last.latency - self.first.latency, self.last.latency_max_us)

    def lateness_ms(self, quantile: float) -> float | None:
        """How late behind their intended time `quantile` (0..1) of the sends were at most."""
        return quantile_ms(self.last.lateness - self.first.lateness, self.last.lateness_max_us, quantile)


def _cores(first: NDArray[Any], last: NDArray[Any]) -> float | None:
    """Processor time over the time between the page's own two heartbeats, which differ from the times of reading."""
    elapsed_ns = int(last["heartbeat_ns"]) - int(first["heartbeat_ns"])
    if int(first["heartbeat_ns"]) == 0 or elapsed_ns <= 0:
        return None
    return int(last["cpu_ns"] - first["cpu_ns"]) / elapsed_ns
