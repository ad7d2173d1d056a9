"""`workbench compare`: measure recordings, print how they differ, and fail when a condition holds.

Options and files are checked before anything is printed.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.comparison.comparison import Comparison, MetricOutcome, compare, known_metrics, parse_condition
from workbench.comparison.metric import load_seconds, measure
from workbench.comparison.statistics import CONFIDENCE, Interval
from workbench.comparison.table import print_comparison
from workbench.errors import RunError, UserError, shown
from workbench.output_file import require_outputs, talk_file, write_atomically, write_json
from workbench.recording.reader import Recording

if TYPE_CHECKING:
    from plots.overlay import OverlaidRun

PLOT_SUFFIXES = (".png", ".svg")


def run_compare(
    files: Sequence[Path],
    fail_if: Sequence[str] = (),
    json_file: Path | None = None,
    plot: Path | None = None,
    *,
    window: bool = False,
) -> int:
    """Compare recordings with the first of them. Returns the exit code: 1 where a condition holds."""
    conditions = [parse_condition(text) for text in fail_if]
    _check_outputs(files, json_file, plot)
    comparison = compare_files(files)
    print_comparison(comparison, talk_file(json_file, plot))
    write_json(json_file, tree_of(comparison))
    if plot is not None:
        from plots.overlay import draw_overlay

        kind = plot.suffix.lower().removeprefix(".")
        write_atomically(plot, draw_overlay(overlay_runs(comparison), file_format=kind))
    # Conditions come last: table, JSON and plot are there for the search for the cause.
    broken = [line for condition in conditions for line in condition.broken_by(comparison)]
    for line in broken:
        print(line, file=sys.stderr)
    if window:
        _show(comparison)
    return 1 if broken else 0


def compare_files(files: Sequence[Path]) -> Comparison:
    """Measure and compare. Raises UserError for a file that is not a recording, and for fewer than two files."""
    if len(files) < 2:
        raise UserError(f"{len(files)} recording given; compare needs two or more")
    with ExitStack() as stack:
        recordings = [stack.enter_context(Recording.open(path)) for path in files]
        return compare([measure(recording, index) for index, recording in enumerate(recordings)])


def overlay_runs(comparison: Comparison) -> "list[OverlaidRun]":
    """The runs as `plots.overlay` draws them."""
    # matplotlib is slow to import, and a comparison without pictures does not need it.
    from plots.overlay import OverlaidRun

    runs = []
    for run in comparison.runs:
        seconds = load_seconds(run)
        inside = seconds[run.steady.start : run.steady.stop]
        ends = (float(inside[0]), float(inside[-1])) if len(inside) else (0.0, 0.0)
        runs.append(OverlaidRun(run.title, run.samples, seconds, ends))
    return runs


def tree_of(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON: units as in a summary, unknown metrics null."""
    return {
        "confidence": CONFIDENCE,
        "runs": [
            {
                "label": run.label,
                "file": shown(run.path),
                "steady_seconds": round(run.steady_s, 1) or None,
                "warm_up_seconds": round(run.cut_s, 1) if run.steady_s else None,
                "settled": run.steady.settled,
                "figures": {
                    metric.key: _outcome_tree(comparison.outcome(metric, run), first=run is comparison.runs[0])
                    for metric in known_metrics(comparison.runs)
                },
            }
            for run in comparison.runs
        ],
        "machine_differs": {one.name: list(one.values) for one in comparison.machines},
        "limits_differ": {one.name: list(one.values) for one in comparison.bounds},
        "scenario_differs": {one.name: list(one.values) for one in comparison.settings},
    }


def _outcome_tree(outcome: MetricOutcome, *, first: bool) -> dict[str, Any] | None:
    if outcome.estimate is None:
        return None
    estimate = outcome.estimate
    tree: dict[str, Any] = {
        "value": estimate.value,
        "spread": estimate.spread,
        "interval": _ends(estimate.interval),
        "unit": "ratio" if outcome.metric.unit == "%" else outcome.metric.unit,
    }
    if first:
        return tree
    sides = {"ratio": outcome.ratio, "ratio_interval": _ends(outcome.ratio_interval)}
    return tree | sides | {"verdict": outcome.verdict.value, "better": outcome.is_better}


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _check_outputs(files: Sequence[Path], json_file: Path | None, plot: Path | None) -> None:
    require_outputs({"--json": json_file, "--plot": plot}, files)
    if plot is not None and plot.suffix.lower() not in PLOT_SUFFIXES:
        raise UserError(f"--plot {plot}: the suffix is {plot.suffix!r}; it must be {' or '.join(PLOT_SUFFIXES)}")


def _show(comparison: Comparison) -> None:
    """Show the overlaid runs until the window is closed."""
    from plots.overlay import DEFAULT_NAMES, PLOTS, draw_overlay_pixels
    from plots.style import THEMES
    from workbench.window.panels.picture_viewer import PictureViewer
    from workbench.window.toolkit.display import NoDisplay

    runs = overlay_runs(comparison)
    titles = {name: plot.title for name, plot in PLOTS.items()}
    try:
        viewer = PictureViewer(
            f"{' / '.join(shown(run.path.name) for run in comparison.runs)} - Pixel Canvas",
            titles,
            DEFAULT_NAMES,
            lambda names, size, theme: draw_overlay_pixels(runs, names, size, THEMES[theme]),
        )
    except NoDisplay:
        raise RunError("--window: there is no display; use --plot FILE.png instead") from None
    viewer.run()
