"""docs/recording.md: its examples run as printed, its tables are those of the file; and old recordings open."""

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from conftest import give_up, is_ci
from devices.hostile.config import KINDS as HOSTILE_KINDS
from workbench.recording.reader import Recording
from workbench.recording.schema import RECORDING_TABLES
from workbench.replay.session import ReplaySession

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "recording.md").read_text(encoding="utf-8")
KEPT = Path(__file__).parents[2] / "recordings"
FIRST, SECOND, THIRD = (KEPT / f"first_light_{version}.pxr" for version in (1, 2, 3))
EXAMPLES = re.findall(r"<!-- example: (.+?) -->\n```\w+\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(FIRST, tmp_path / "run.pxr")
    return tmp_path


def examples(kind: str) -> list[str]:
    found = [text for mark, text in EXAMPLES if mark == kind]
    assert found, kind
    return found


@pytest.mark.parametrize("query", examples("sql"))
def test_sql_examples_run_as_printed(folder: Path, query: str) -> None:
    with closing(sqlite3.connect(folder / "run.pxr")) as file:
        rows = file.execute(query).fetchall()
    assert any(None not in row for row in rows)


def run_python(folder: Path, text: str) -> str:
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("text", examples("python"))
def test_python_examples_run_as_printed(folder: Path, text: str) -> None:
    assert "first_light 26 s 182 samples" in run_python(folder, text)


@pytest.mark.parametrize("package", ["pandas", "duckdb"])
def test_examples_of_other_packages_run_as_printed(folder: Path, package: str) -> None:
    if find_spec(package) is None:
        give_up(package, "pip install -e '.[dev]'", in_ci=is_ci())
    for text in examples(f"python {package}"):
        assert "fan-out" in run_python(folder, text)


def test_the_tables_are_those_of_a_recording() -> None:
    with closing(sqlite3.connect(f"{THIRD.as_uri()}?mode=ro", uri=True)) as file:
        names = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE))
    assert len(names) == len(RECORDING_TABLES)


def test_a_recording_of_version_1_reads_as_before() -> None:
    with Recording.open(FIRST) as recording:
        samples, summary = recording.samples(), recording.summary
        assert summary is not None
        assert summary["admitted_per_s"] == 408.5708
        assert recording.checksum() == summary["canvas_checksum"] == 3509802928
        assert (len(samples), len(recording.tick_log()), int(samples["admitted_count"][-1])) == (182, 79, 1345)
        assert (recording.scenario.name, recording.width, recording.height) == ("first_light", 64, 48)
        assert recording.diagnoses()[-1].sentence == "98 % headroom; the busiest loop is 2 % busy"
        assert recording.diagnoses()[-1].whole.explanation == ()
        assert recording.reading_at(recording.last_ns) is None
        assert np.isnan(recording.stage_samples()["growth_per_s"]).all()


def test_a_recording_of_version_2_reads_as_before() -> None:
    with Recording.open(SECOND) as recording:
        samples, summary = recording.samples(), recording.summary
        assert summary is not None
        assert recording.checksum() == summary["canvas_checksum"] == 3524161990
        assert (recording.scenario.name, recording.width, recording.height) == ("first_light", 64, 48)
        assert len(samples) == 99
        # The samples count what the summary counts, also who is gone again.
        kinds = dict(zip(HOSTILE_KINDS, samples["hostile"][-1], strict=True))
        for kind, expected in summary["hostile"].items():
            assert (kinds[kind]["opened_count"], kinds[kind]["sent_bytes"]) == (
                expected["opened_count"],
                expected["sent_bytes"],
            )
        assert (int(kinds["wrong_lengths"]["ended_count"]), kinds["wrong_lengths"]["codes"].tolist()) == (1, [1002, 0])
        assert kinds["random_bytes"]["codes"].tolist() == [431, 0]
        assert samples["hostile"]["connection_count"].sum(axis=1).max() == 10
        reading = recording.reading_at(int(samples["time_ns"][60]))
        assert reading is not None
        assert (reading.connection_count, reading.subscriber_count) == (20, 20)
        assert recording.diagnoses()[-1].whole.explanation


def test_a_recording_of_version_3_has_its_settings() -> None:
    with Recording.open(THIRD) as recording, closing(ReplaySession(recording, with_panels=False)) as replay:
        assert recording.summary is not None
        assert recording.checksum() == recording.summary["canvas_checksum"] == 381676176
        stood = []
        curve = ((0.0, 1.0), (5.0, 2.5))
        for seconds in (7.4, 7.7, 8.2, 8.7, 9.2, 9.8, 10.3, 10.8, 11.3, 11.8):
            replay.transport.hold_at(recording.first_ns + round(seconds * 1e9))
            replay.poll(0)
            controls = replay.controls
            brake = controls.value("server.brakes.apply.item_us")
            stood.append((brake, controls.value("fleet.greedy_ratio"), controls.load_curve))
            cards = {stage.name: stage.brake for stage in replay.view().stages}
            assert cards["apply"] == ("+ 40 us an item" if brake else "")
        assert stood == [
            (0, 0.04, ()),
            (40, 0.04, ()),
            (40, 0.0456789, ()),
            (40, 0.0456789, curve),
            (0, 0.0456789, curve),
            (40, 0.0456789, curve),
            (0, 0.04, ()),
            (40, 0.0456789, curve),
            (40, 0.0456789, ()),
            (40, 0.0456789, curve),
        ]


@pytest.mark.parametrize("path", [FIRST, SECOND], ids=lambda path: path.stem)
def test_an_earlier_recording_is_replayed_with_what_it_has(path: Path) -> None:
    with Recording.open(path) as recording, closing(ReplaySession(recording, with_panels=False)) as replay:
        assert recording.turns() is None
        for share in (0, 0.3, 1, 0.6):
            replay.transport.seek_ratio(share)
            replay.poll(0)
            assert replay.view().failures == [] and replay.controls.scenario == replay.scenario


def test_reading_changes_no_file() -> None:
    for path in (FIRST, SECOND, THIRD):
        Recording.open(path).close()
    assert sorted(path.name for path in KEPT.iterdir()) == [FIRST.name, SECOND.name, THIRD.name]
