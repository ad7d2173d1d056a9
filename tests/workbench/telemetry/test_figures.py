"""The table of figures: each row is measured somewhere, and a new row alone brings a counter everywhere."""

import json
import subprocess
import sys
from pathlib import Path

from plots.figures import FIGURES, Figures
from server.kernels import layout
from workbench.telemetry.counters import Span

ROOT = Path(__file__).parents[3]


def test_each_figure_is_measured_from_an_existing_field() -> None:
    fields = {"loops": layout.LOOP, "server": layout.SERVER, "fleet": layout.FLEET}
    for figure in FIGURES:
        if figure.measure:
            method, *arguments = figure.measure
            assert callable(getattr(Span, method)), figure
            page = fields.get(method.partition("_")[0])
            assert page is None or method.endswith("_cores") or arguments[0] in (page.names or ()), figure


def test_a_figure_is_unknown_until_it_is_measured() -> None:
    assert {getattr(Figures(), figure.name) for figure in FIGURES} == {None, 0}


_WITH_A_NEW_ROW = """
import json, sys, types
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, "tests")
row = '    reads_per_s: float | None = _rate("loops", "read_count", "reads", better=Better.MORE)\\n'
place = "\\n    sent_per_s:"
text = Path("plots/figures.py").read_text(encoding="utf-8")
assert text.count(place) == 1
module = sys.modules["plots.figures"] = types.ModuleType("plots.figures")
exec(compile(text.replace(place, row + place), "figures.py", "exec"), module.__dict__)

from support import recorded
from workbench.comparison.metric import measure
from workbench.export.command import ExportOptions, export_recording
from workbench.recording.reader import Recording
from workbench.recording.writer import RecordingWriter
from workbench.replay.figures import ReplayFigures
from workbench.scenarios.scenario import load_scenario
from workbench.telemetry.pages import SessionPages
from workbench.telemetry.sampler import Sampler
from workbench.telemetry.summary import Measured, summarise
from workbench.telemetry.view import Diagnosis

path = Path(sys.argv[1])
scenario = load_scenario("first_light", ["server.width=70", "server.height=50"])
pages = SessionPages.create(scenario.server)
sampler = Sampler(pages, scenario)
writer = RecordingWriter(path, recorded.facts_of(70, 50))
for step in range(60):
    pages.telemetry["server"][0]["heartbeat_ns"] = pages.fleet["fleet"][0]["heartbeat_ns"] = recorded.time_of(step)
    pages.telemetry["loops"][0]["read_count"] += 25
    pages.fleet["fleet"][0]["offered_count"] += 100
    last = sampler.take(recorded.time_of(step))
    writer.take(sampler.sample, sampler.new_ticks, sampler.stages, Diagnosis("none"), sampler.reading)
first = replace(last, time_ns=last.time_ns - 10**9, loops=last.loops.copy())
first.loops["read_count"][0] -= 500
summary = summarise(Measured(1, first, last, last, None, None, None))
writer.close(summary)
found = {"reading": sampler.reading.reads_per_s, "sample": float(sampler.sample["reads_per_s"])}
found["summary"] = summary["reads_per_s"]
with Recording.open(path) as recording:
    samples = recording.samples()
    found["recording"] = float(samples["reads_per_s"][-1])
    at_ns = int(samples["time_ns"][-1])
    found["replay"] = ReplayFigures(recording).reading(samples[-1], scenario, at_ns).reads_per_s
    estimate = measure(recording).estimates["reads_per_s"]
    found["comparison"] = estimate.value
for suffix in (".csv", ".prom"):
    export_recording(path, path.with_suffix(suffix), ExportOptions())
lines = path.with_suffix(".csv").read_text(encoding="utf-8").splitlines()
found["csv"] = float(lines[-1].split(",")[lines[0].split(",").index("reads_per_s")])
lines = path.with_suffix(".prom").read_text(encoding="utf-8").splitlines()
found["prometheus"] = next(float(line.split()[1]) for line in lines if line.startswith("pixelcanvas_reads_per_second "))
print(json.dumps(found))
"""


def test_a_new_row_brings_a_counter_everywhere(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WITH_A_NEW_ROW, str(tmp_path / "run.pxr")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("summary") == 500
    places = {"reading", "sample", "recording", "replay", "comparison", "csv", "prometheus"}
    assert found == dict.fromkeys(places, 250.0)
