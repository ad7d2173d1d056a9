"""The library: what docs/library.md shows runs as printed, errors are exceptions, and importing it is cheap."""

import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench
from support.serving import PATIENCE_S, Serving
from support.session_parts import commands
from workbench import Summary, open_recording, run_scenario
from workbench.errors import RunError, UserError
from workbench.session.session import Session
from workbench.telemetry.summary import Measured, summarise

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", PAGE, flags=re.DOTALL))
KEPT = ROOT / "tests" / "recordings" / "first_light_3.pxr"


def run(name: str, folder: Path, *arguments: str) -> str:
    """What an example prints, run as it stands in the page."""
    (folder / name).write_text(EXAMPLES[name], encoding="utf-8")
    return python(folder, name, *arguments)


def python(folder: Path, *arguments: str) -> str:
    """What Python prints with these arguments."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestExamples:
    def test_every_example_of_the_page_is_run_here(self) -> None:
        assert set(EXAMPLES) == {"run.py", "read.py", "client.py"}

    def test_run(self, tmp_path: Path) -> None:
        output = run("run.py", tmp_path)
        assert re.match(r"\d+ of \d+ placements per second admitted\nview p99 \d+ ms, bottleneck: \w+", output)
        assert "['fleet_cpu_cores'" in output

    def test_read(self, tmp_path: Path) -> None:
        shutil.copy(KEPT, tmp_path / "run.pxr")
        output = run("read.py", tmp_path)
        assert re.match(
            r"first_light: at most [1-9]\d* placements per second admitted\n[1-9]\d*% of the canvas", output
        )
        assert "picture: (48, 64, 3) uint8" in output

    def test_client(self, tmp_path: Path) -> None:
        with Serving(width=70, height=45) as serving:
            assert run("client.py", tmp_path, str(serving.port)) == "a canvas of 70 x 45\npainted\n"
            assert serving.pixels[20, 10] == 5


class TestImports:
    def test_they_are_light(self, tmp_path: Path) -> None:
        heavy = "print(sorted({'pygame', 'matplotlib', 'numba', 'PIL', 'sqlite3'} & set(sys.modules)))"
        assert python(tmp_path, "-c", f"import sys, workbench; {heavy}; print('numpy' in sys.modules)") == "[]\nFalse\n"
        names = "from workbench import *; from workbench.errors import UserError; from server.protocol import *"
        assert python(tmp_path, "-c", f"import sys; {names}; {heavy}; print(run_scenario.__name__)").startswith("[]")

    def test_an_unknown_name_is_an_error(self) -> None:
        import server.protocol

        for package in (workbench, server.protocol):
            with pytest.raises(AttributeError, match="has no attribute 'gone'"):
                _ = package.gone  # type: ignore[attr-defined]
            assert all(hasattr(package, name) for name in package.__all__)

    def test_each_package_is_typed(self) -> None:
        assert all((ROOT / name / "py.typed").is_file() for name in ("server", "devices", "plots", "workbench"))


class TestSummary:
    def test_it_has_the_keys_of_a_summary_and_cannot_be_changed(self) -> None:
        figures = {"seconds": 2.0, "machine": {"cores": 2}}
        summary = Summary(figures)
        figures["seconds"] = 3.0
        assert (summary.seconds, summary["seconds"], dict(summary)["machine"]) == (2.0, 2.0, {"cores": 2})
        with pytest.raises(AttributeError):
            summary.seconds = 4.0  # type: ignore[misc]
        with pytest.raises(AttributeError, match="a summary has no figure 'gone'"):
            _ = summary.gone

    def test_its_typed_keys_are_those_of_every_run(self, empty_measurement: Measured) -> None:
        assert set(Summary.__annotations__) <= set(summarise(empty_measurement))


@pytest.fixture
def empty_measurement() -> Measured:
    """A run of which nothing is known."""
    from server.config import ServerConfig
    from workbench.telemetry.counters import read_counters
    from workbench.telemetry.pages import SessionPages

    pages = SessionPages.create(ServerConfig(width=32, height=32))
    try:
        return Measured(None, None, None, read_counters(pages, 0, 0), None, None, None)
    finally:
        pages.close()


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`parts(server="...")`: run fake parts in these manners instead of real ones."""

    def use(**manners: str) -> None:
        monkeypatch.setattr("workbench.session.session.Session", partial(Session, commands=commands(**manners)))

    return use


class TestRun:
    def test_it_needs_an_end(self) -> None:
        with pytest.raises(UserError, match="scenario first_light has no end; give seconds, or stop"):
            run_scenario("first_light")

    @pytest.mark.parametrize(
        ("values", "text"),
        [
            ({"fleet.conections": 5}, "scenario first_light: "),
            ({"fleet.connections": "many"}, "fleet.connections"),
            ({"title.x": 1}, r"\$.title has no keys"),
        ],
    )
    def test_a_wrong_value_is_refused(self, values: dict[str, Any], text: str) -> None:
        with pytest.raises(UserError, match=text):
            run_scenario("first_light", set=values, seconds=1)

    def test_an_existing_file_is_not_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "run.pxr").write_text("mine")
        with pytest.raises(UserError, match=r"run\.pxr"):
            run_scenario("first_light", seconds=1, record=tmp_path / "run.pxr")

    def test_a_part_that_fails_is_an_error(self, parts: Callable[..., None], capfd: pytest.CaptureFixture[str]) -> None:
        parts(server="bug")
        with pytest.raises(RunError, match="server: "):
            run_scenario("first_light", seconds=60)
        assert capfd.readouterr() == ("", "")

    def test_a_check_that_fails_is_in_the_summary(self, parts: Callable[..., None]) -> None:
        parts(fleet="lossy")
        summary = run_scenario("first_light", seconds=0.6, set={"server.width": 40, "server.height": 30})
        assert summary.failures == ["connections: 2 lost, and neither a fault nor a setting asked for it"]

    def test_it_is_stopped_from_another_thread_and_leaves_signals_alone(
        self, parts: Callable[..., None], capfd: pytest.CaptureFixture[str]
    ) -> None:
        parts()
        former = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        stop, found = threading.Event(), []
        thread = threading.Thread(target=lambda: found.append(run_scenario(Path("first_light"), stop=stop)))
        thread.start()
        stop.set()
        thread.join(PATIENCE_S)
        assert found[0].seconds is None and found[0].failures == []
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == former
        assert capfd.readouterr() == ("", "")


class TestRecordedRun:
    def test_it_gives_figures_and_canvas_at_a_time(self) -> None:
        with open_recording(KEPT) as recording:
            assert (recording.width, recording.height, recording.scenario.name) == (64, 48, "first_light")
            assert recording.summary is not None and recording.summary.canvas_checksum == 381676176
            figures = recording.figures(7, 9)
            assert figures["time_s"][0] > 7 and 8.8 < figures["time_s"][-1] <= 9
            assert {len(values) for values in figures.values()} == {len(figures["time_s"])}
            at = recording.figures_at(float(figures["time_s"][3]))
            assert at["admitted_per_s"] == figures["admitted_per_s"][3]
            assert recording.figures_at(-5) == {}
            assert (recording.canvas_at(0) == 0).all()
            first, last = recording.canvas_at(recording.duration_s), recording.canvas_at(1e6)
            assert np.array_equal(first, last) and recording.colors[last].shape == (48, 64, 3)
            assert all(0 <= time_s <= recording.duration_s for time_s, _, _ in recording.events())
            assert recording.bottlenecks()[-1][1]

    def test_what_is_no_recording_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="nothing"):
            open_recording(tmp_path / "nothing")
