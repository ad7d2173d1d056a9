"""The figures of a recorded run at a moment, as the window shows those of a live one. What was not recorded is None.

It measures nothing. Invariant: a figure is what was recorded last before the moment, and no older than a second.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plots.figures import SAMPLED
from workbench.recording.reader import Diagnosed, Recording
from workbench.recording.rows import STAGE_NAMES
from workbench.scenarios.scenario import Scenario
from workbench.telemetry.pipeline import ITEMS, VIEWERS, brake_text
from workbench.telemetry.view import Diagnosis, Reading, StageReading

SECOND_NS = 1_000_000_000
_ADMIT = "admit"
_UNEXPLAINED = "This recording holds what was found, not the steps that led to it: an earlier version made it."
_STRETCH_LEAST = 1.05
"""A tick interval that is longer by less was not stretched: ticks do not begin to the microsecond."""


class ReplayFigures:
    """Tells the figures of one recording."""

    def __init__(self, recording: Recording) -> None:
        """Raises UserError where the recording is damaged."""
        self._recording = recording
        self._diagnoses: tuple[Diagnosed, ...] = recording.diagnoses()

    def look_for_more(self) -> bool:
        """Take in what a recording that is still written has got since; True when there is any. Raises UserError."""
        news = self._recording.diagnoses(self._diagnoses[-1].number if self._diagnoses else 0)
        self._diagnoses += news
        return bool(news)

    def reading(self, sample: NDArray[Any] | None, scenario: Scenario, time_ns: int) -> Reading:
        """All figures. `sample`: the last one, shape (), dtype SAMPLE, or None; `scenario`: the settings then."""
        ticks = self._recording.tick_log(time_ns - SECOND_NS, time_ns)
        known = self._recording.reading_at(time_ns) if sample is not None else None
        base = self._of_ticks(known or Reading(), ticks, scenario)
        base = replace(base, connection_target=scenario.fleet.connections)
        if sample is None:
            return base
        sampled: dict[str, Any] = {figure.name: _known(float(sample[figure.column])) for figure in SAMPLED}
        return replace(base, **sampled)

    def stages(self, sample: NDArray[Any] | None, scenario: Scenario) -> tuple[StageReading, ...]:
        """The stages in their real order, of which something is known: the journal only when there was one."""
        if sample is None:
            return ()
        sampled_ns = int(sample["time_ns"])
        rows = self._recording.stage_samples(sampled_ns - 1, sampled_ns)
        found = {str(row["stage"]): row for row in rows}
        brakes = dict(zip(STAGE_NAMES, map(brake_text, scenario.server.brakes.in_order()), strict=True))
        viewer_us = scenario.fleet.viewer_brake_us
        brakes[VIEWERS] = f"+ {viewer_us:g} us a delta" if viewer_us else ""
        return tuple(
            _stage(found[name], brakes[name], _admit_drops(sample) if name == _ADMIT else None)
            for name in ITEMS
            if name in found and (name == VIEWERS or _known(found[name]["throughput_per_s"]) is not None)
        )

    def diagnosis(self, time_ns: int) -> Diagnosis:
        """What limited the run, as it was told then."""
        found = next((each for each in reversed(self._diagnoses) if each.time_ns <= time_ns), None)
        if found is None:
            return Diagnosis("")
        whole = found.whole
        return whole if whole.explanation else replace(whole, explanation=(_UNEXPLAINED,))

    @staticmethod
    def _of_ticks(known: Reading, ticks: NDArray[Any], scenario: Scenario) -> Reading:
        """What was recorded, and what the last second's ticks tell."""
        configured = float(scenario.server.tick_ms)
        base = replace(known, tick_ms_configured=configured, rate_limit_per_s=scenario.server.rate_per_s)
        if not len(ticks):
            return base
        mean_ms = float(ticks["interval_ns"].mean()) / 1e6
        shown_ms = known.tick_ms or (mean_ms if mean_ms > configured * _STRETCH_LEAST else configured)
        return replace(base, tick=int(ticks["tick"][-1]), tick_ms=shown_ms, tick_ms_mean=mean_ms)


def _stage(row: NDArray[Any], brake: str, drops: tuple[tuple[str, float], ...] | None) -> StageReading:
    """One stage. Of its drops a recording holds the sum; `drops` tells their reasons where others do."""
    dropped = _known(float(row["drops_per_s"])) or 0.0
    return StageReading(
        name=str(row["stage"]),
        item_name=ITEMS[str(row["stage"])],
        throughput_per_s=_known(float(row["throughput_per_s"])),
        utilisation_ratio=_known(float(row["utilisation_ratio"])),
        service_us=_known(float(row["service_us"])),
        waiting_ms=_known(float(row["waiting_ms"])),
        depth=_known(float(row["depth"])) or 0.0,
        depth_peak=int(_known(float(row["depth_peak"])) or 0),
        depth_max=int(_known(float(row["depth_max"])) or 0),
        growth_per_s=_known(float(row["growth_per_s"])) or 0.0,
        drops_per_s=drops if drops is not None else (("dropped", dropped),) if dropped > 0 else (),
        brake=brake,
    )


def _admit_drops(sample: NDArray[Any]) -> tuple[tuple[str, float], ...]:
    reasons = (("rate", "throttled_per_s"), ("out of bounds", "out_of_bounds_per_s"), ("overload", "shed_per_s"))
    rates = ((reason, _known(float(sample[name])) or 0.0) for reason, name in reasons)
    return tuple((reason, rate) for reason, rate in rates if rate > 0)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
