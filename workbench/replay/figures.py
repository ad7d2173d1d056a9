"""The figures of a recorded run at a moment, as a view shows those of a live run; None for what was not recorded.

A figure is the last that was recorded before the moment, and at most a second old.
"""

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from plots.figures import SAMPLED
from plots.number import none_if_nan
from workbench.recording.reader import Diagnosed, Recording
from workbench.recording.rows import STAGE_NAMES
from workbench.recording.schema import STAGE_SAMPLE_COLUMNS
from workbench.scenarios.scenario import Scenario
from workbench.telemetry.pipeline import ITEMS, VIEWERS, brake_text
from workbench.telemetry.view import Diagnosis, Reading, StageReading

SECOND_NS = 1_000_000_000
_ADMIT = "admit"
_UNEXPLAINED = "This recording holds what was found, not the steps that led to it: an earlier version made it."
# A tick interval that is longer by less was not stretched: ticks start with some jitter.
_STRETCH_LEAST = 1.05


class ReplayFigures:
    """The figures of one recording."""

    def __init__(self, recording: Recording) -> None:
        """Raises UserError where the recording is damaged."""
        self._recording = recording
        self._diagnoses: tuple[Diagnosed, ...] = recording.diagnoses()

    def look_for_more(self) -> bool:
        """Read the diagnoses that a recording in progress has got since. Returns whether there are any."""
        news = self._recording.diagnoses(self._diagnoses[-1].number if self._diagnoses else 0)
        self._diagnoses += news
        return bool(news)

    def reading(self, sample: NDArray[Any] | None, scenario: Scenario, time_ns: int) -> Reading:
        """The reading at a time. `sample`: the last one, shape (), dtype SAMPLE, or None; `scenario`: the settings."""
        ticks = self._recording.tick_log(time_ns - SECOND_NS, time_ns)
        known = self._recording.reading_at(time_ns) if sample is not None else None
        base = self._of_ticks(known or Reading(), ticks, scenario)
        base = replace(base, connection_target=scenario.fleet.connections)
        if sample is None:
            return base
        sampled: dict[str, Any] = {figure.name: none_if_nan(sample[figure.column]) for figure in SAMPLED}
        return replace(base, **sampled)

    def stages(self, sample: NDArray[Any] | None, scenario: Scenario) -> tuple[StageReading, ...]:
        """The stages with known figures, in the order of the pipeline: the journal only when there was one."""
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
            if name in found and (name == VIEWERS or none_if_nan(found[name]["throughput_per_s"]) is not None)
        )

    def diagnosis(self, time_ns: int) -> Diagnosis:
        """The diagnosis that was shown then."""
        found = next((each for each in reversed(self._diagnoses) if each.time_ns <= time_ns), None)
        if found is None:
            return Diagnosis("")
        whole = found.whole
        return whole if whole.explanation else replace(whole, explanation=(_UNEXPLAINED,))

    @staticmethod
    def _of_ticks(known: Reading, ticks: NDArray[Any], scenario: Scenario) -> Reading:
        """The recorded reading with the figures of the last second's ticks."""
        configured = float(scenario.server.tick_ms)
        base = replace(known, tick_ms_configured=configured, rate_limit_per_s=scenario.server.rate_per_s)
        if not len(ticks):
            return base
        mean_ms = float(ticks["interval_ns"].mean()) / 1e6
        shown_ms = known.tick_ms or (mean_ms if mean_ms > configured * _STRETCH_LEAST else configured)
        return replace(base, tick=int(ticks["tick"][-1]), tick_ms=shown_ms, tick_ms_mean=mean_ms)


def _stage(row: NDArray[Any], brake: str, drops: tuple[tuple[str, float], ...] | None) -> StageReading:
    """One stage. A recording has the sum of its drops; `drops`: by reason, if they are known from elsewhere."""
    figures: dict[str, Any] = {name: none_if_nan(row[name]) for name in STAGE_SAMPLE_COLUMNS}
    dropped = figures.pop("drops_per_s") or 0.0
    # A queue without a figure is empty; rates and times without one are unknown.
    figures |= {name: int(figures[name] or 0) for name in ("depth_peak", "depth_max")}
    figures |= {name: figures[name] or 0.0 for name in ("depth", "growth_per_s")}
    name = str(row["stage"])
    found = drops if drops is not None else (("dropped", dropped),) if dropped > 0 else ()
    return StageReading(name, ITEMS[name], **figures, drops_per_s=found, brake=brake)


def _admit_drops(sample: NDArray[Any]) -> tuple[tuple[str, float], ...]:
    reasons = (("rate", "throttled_per_s"), ("out of bounds", "out_of_bounds_per_s"), ("overload", "shed_per_s"))
    rates = ((reason, none_if_nan(sample[name]) or 0.0) for reason, name in reasons)
    return tuple((reason, rate) for reason, rate in rates if rate > 0)
