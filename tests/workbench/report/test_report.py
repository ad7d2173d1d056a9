"""Reports: valid HTML in one file, text from recordings escaped, and no errors in a browser."""

import base64
import io
import os
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plots.history import SAMPLE
from plots.series import PANELS
from server.palette import PALETTE
from support import recorded_run
from workbench.cli.app import run_main
from workbench.errors import UserError
from workbench.recording.reader import Diagnosed, Recording
from workbench.report.pictures import PICTURE_COUNT, STILL_COUNT, canvas_pictures
from workbench.report.tables import LINES_MAX, bottleneck_periods, longest_periods, percentiles_of, total_times

EVIL = '<script>alert("1")</script> & \'quoted\' "words"'
VOID = {"meta", "link", "source", "img", "br", "hr"}


class Page(HTMLParser):
    """A parsed page: every element must be closed; elements and text are collected."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> repeats an attribute"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    first = recorded_run.write_run(
        folder / "first & <best>.pxr",
        markers=((12.0, "knob", EVIL), (30.0, "fault", "stall")),
        diagnoses=((1, "none", "idle"), (100, "apply", EVIL)),
        machine=recorded_run.MACHINE | {"cpu": EVIL},
    )
    slower = recorded_run.samples_of_run(admitted_per_s=900.0, seed=19)
    return [first, recorded_run.write_run(folder / "second.pxr", slower, ended=False)]


@pytest.fixture(scope="module")
def report(files: list[Path]) -> Path:
    out = files[0].parent / "report.html"
    assert run_main(["report", str(files[0]), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def comparison(files: list[Path]) -> Path:
    out = files[0].parent / "comparison.html"
    assert run_main(["report", *map(str, files), "--out", str(out)]) == 0
    return out


@pytest.fixture(params=["report", "comparison"])
def page(request: pytest.FixtureRequest) -> Page:
    return Page(request.getfixturevalue(request.param).read_text(encoding="utf-8"))


def test_a_page_loads_nothing_and_runs_no_scripts(page: Page) -> None:
    addresses = [one.get(name) for _, one in page.elements for name in ("src", "href", "srcset") if name in one]
    assert addresses
    assert all(address is not None and address.startswith("data:") for address in addresses)
    assert not page.of("script", "iframe", "object", "form")
    assert not [name for _, one in page.elements for name in one if name.startswith("on")]


def test_a_page_is_accessible(page: Page) -> None:
    (html,) = page.of("html")
    assert html["lang"] == "en"
    assert len(page.of("h1")) == len(page.of("main")) == len(page.of("title")) == 1
    assert all(image.get("alt") for image in page.of("img"))
    assert all(head.get("scope") in ("row", "col") for head in page.of("th"))
    assert len(page.of("caption")) == len(page.of("table")) > 0
    names = [one["id"] for _, one in page.elements if "id" in one]
    assert len(names) == len(set(names))
    assert {one.get("aria-labelledby") for one in page.of("section")} <= set(names)


def test_text_of_a_recording_is_never_markup(page: Page) -> None:
    assert EVIL in page.text
    assert "first & <best>.pxr" in page.text


def test_a_report_has_all_sections(report: Path) -> None:
    page = Page(report.read_text(encoding="utf-8"))
    titles = (
        "Summary",
        "Bottlenecks over time",
        "Over time",
        "Stages",
        "Placement-to-view latency",
        "The canvas",
        "Machine",
    )
    assert all(title in page.text for title in titles)
    assert "998/s" in page.text
    assert "p99.9" in page.text
    assert "maximum" in page.text
    assert "86,000" in page.text
    assert 'name = "first_light"' in page.text
    assert "apply, for 80.0 s" in page.text
    assert "apply placements; journal commits; encode tiles; fan-out deltas; viewers deltas." in page.text
    assert "00:12" in page.text
    panels = [one for one in page.of("img") if str(one["src"]).startswith("data:image/svg+xml")]
    assert len(panels) == len(PANELS)
    assert all(b"<svg" in base64.b64decode(str(one["src"]).partition(",")[2]) for one in panels)


def test_a_report_says_that_a_run_was_not_closed(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    assert run_main(["report", str(files[1]), "--out", str(out)]) == 0
    page = Page(out.read_text(encoding="utf-8"))
    assert "was not closed cleanly" in page.text
    assert "The whole run" not in page.text


def test_an_empty_recording_has_a_report(tmp_path: Path) -> None:
    path = recorded_run.write_run(tmp_path / "e.pxr", np.zeros(0, SAMPLE), markers=(), diagnoses=(), ended=False)
    out = tmp_path / "e.html"
    assert run_main(["report", str(path), "--out", str(out)]) == 0
    text = Page(out.read_text(encoding="utf-8")).text
    assert "it has no load" in text
    assert "No device saw one of its placements" in text


def test_a_comparison_marks_what_is_worse(files: list[Path], tmp_path: Path) -> None:
    other = recorded_run.write_run(tmp_path / "a.pxr")
    out = tmp_path / "c.html"
    assert run_main(["report", str(other), str(files[1]), "--out", str(out)]) == 0
    page = Page(out.read_text(encoding="utf-8"))
    assert "less, worse" in page.text
    assert [one for one in page.of("td") if one.get("class") == "bad"]
    assert "Machines: no differences." in page.text


def test_the_same_recording_gives_the_same_bytes(files: list[Path], report: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.html"
    assert run_main(["report", str(files[0]), "--out", str(out)]) == 0
    assert out.read_bytes() == report.read_bytes()


def test_a_recording_is_never_overwritten(
    files: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = files[1].read_bytes()
    assert run_main(["report", str(files[1]), "--out", str(files[1])]) == 2
    assert files[1].read_bytes() == before
    assert run_main(["report", str(tmp_path / "none.pxr")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_pictures_show_the_canvas_of_their_time(files: list[Path]) -> None:
    with Recording.open(files[0]) as recording:
        pictures = canvas_pictures(recording, recording.first_ns, recording.last_ns)
        assert len(pictures.stills) == STILL_COUNT
        for still in pictures.stills:
            shown = np.asarray(Image.open(io.BytesIO(still.png)).convert("RGB"))
            assert np.array_equal(shown, PALETTE[recording.canvas_at(still.time_ns)])
        animation = Image.open(io.BytesIO(pictures.animation))
        assert animation.n_frames == PICTURE_COUNT
        animation.seek(PICTURE_COUNT - 1)
        assert np.array_equal(np.asarray(animation.convert("RGB")), PALETTE[recording.canvas_at(recording.last_ns)])


def test_a_damaged_palette_is_reported(files: list[Path]) -> None:
    for palette in ("[]", '["#12"]', '["red"]'):
        with Recording.open(files[0]) as recording:
            recording.meta = {**recording.meta, "palette": palette}
            with pytest.raises(UserError, match="is damaged: it lacks some of its 256 colours; take a whole copy"):
                canvas_pictures(recording, recording.first_ns, recording.last_ns)


def test_percentiles_are_never_too_low() -> None:
    rows = np.zeros(10, SAMPLE)
    rows["latency_counts"][:, 9] = 99  # 0.8 ms up to 1.008 ms.
    rows["latency_counts"][:, 30] = 1  # 102.4 ms up to 129 ms.
    rows["latency_ms_max"] = 110.0
    found = percentiles_of(rows)
    assert found is not None
    assert (found.count, found.max_ms) == (1000, 110.0)
    bounds = dict(found.bounds_ms)
    assert bounds[50.0] == bounds[99.0] == pytest.approx(1.008, abs=0.001)
    assert bounds[99.9] == 110.0
    assert 99.99 not in bounds  # A thousand placements are too few for it.
    assert percentiles_of(np.zeros(10, SAMPLE)) is None


def test_bottleneck_times_add_up() -> None:
    second = 1_000_000_000
    rows = [(0, "none", "idle"), (10, "apply", "94 %"), (12, "apply", "95 %"), (20, "none", "idle"), (25, "read", "x")]
    periods = bottleneck_periods([Diagnosed(at, at * second, name, words) for at, name, words in rows], 30 * second)
    assert [one.bottleneck for one in periods] == ["none", "apply", "none", "read"]
    assert total_times(periods) == [("none", 15.0), ("apply", 10.0), ("read", 5.0)]
    many = [Diagnosed(at, at * at * second, ("none", "apply")[at % 2], "") for at in range(100)]
    kept = longest_periods(bottleneck_periods(many, 100 * 100 * second))
    assert len(kept) == LINES_MAX
    assert kept[0].start_ns == 60 * 60 * second


def test_a_browser_reports_no_errors(
    report: Path, comparison: Path, tmp_path: Path, needs_program: Callable[[str, str], str]
) -> None:
    chromium = needs_program("chromium", "apt-get install chromium")
    for number, file in enumerate((report, comparison)):
        shown = tmp_path / f"{number}.png"
        command = [
            chromium, "--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
            "--window-size=1200,3000", f"--screenshot={shown}", *(["--no-sandbox"] if os.geteuid() == 0 else []),
            file.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert not re.findall(r".*CONSOLE.*", done.stderr)
        colors = Image.open(shown).convert("RGB").getcolors(1 << 24)
        assert colors is not None
        assert len(colors) > 200, "the page is nearly empty"
