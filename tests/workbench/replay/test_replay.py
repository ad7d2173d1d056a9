"""Replay: at every moment, pages and figures are what was recorded, after any sequence of moves."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plots.__main__ import PictureRequest, Renderer
from plots.history import MARKER_ROWS, MARKERS_READ, SAMPLE, HistoryReader, history_sections
from plots.ipc import Picture, ShowPanels
from plots.panels import Panels
from plots.series import DEFAULT_NAMES
from plots.timeline import TimeSpan
from server.ipc.page import Page
from support import recorded
from support.recorded import STARTED_NS, TICK_NS, time_of
from workbench.controls.playhead import SPEEDS, Transport
from workbench.errors import UserError
from workbench.recording.reader import Recording
from workbench.replay.pages import ReplayHistory
from workbench.replay.session import LOCKED, ReplaySession
from workbench.telemetry.view import Marker

TICKS = 80
SECOND_NS = 1_000_000_000
STEPS = ["step", "seek", "jump", "speed", "toggle"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, np.ndarray]]:
    path = tmp_path_factory.mktemp("replayed") / "a.pxr"
    return path, recorded.make(path, TICKS)


@pytest.fixture
def session(made: tuple[Path, dict[int, np.ndarray]]):
    with Recording.open(made[0]) as recording:
        session = ReplaySession(recording, with_panels=False)
        session.start(0)
        yield session
        session.end()
        session.close()


def at(session: ReplaySession, tick: float) -> None:
    """Go to the time of a tick."""
    session.transport.hold_at(STARTED_NS + tick * TICK_NS)
    session.poll(0)


# --- Transport ---


def test_it_plays_at_its_speed_and_stops_at_the_end() -> None:
    transport = Transport(1000, 5000)
    assert transport.step(10**9) == 1000
    transport.toggle()
    assert transport.step(10**9 + 500) == 1500
    transport.change_speed(1)
    assert transport.speed == 2.0
    assert transport.step(10**9 + 1500) == 3500
    assert transport.step(10**9 + 9000) == 5000
    assert transport.at_end
    assert not transport.playing
    transport.toggle()
    assert (transport.position_ns, transport.playing) == (1000, True)


def test_time_that_passes_while_it_is_held_is_not_played() -> None:
    transport = Transport(0, 10_000)
    transport.step(0)
    transport.step(5_000)
    transport.toggle()
    assert transport.step(5_100) == 100


def test_slow_motion_loses_no_fraction() -> None:
    transport = Transport(0, 10_000)
    transport.step(0)
    transport.toggle()
    for _ in SPEEDS:
        transport.change_speed(-1)
    assert transport.speed == 0.1
    for now_ns in range(1, 1001):
        transport.step(now_ns)
    assert transport.position_ns in (99, 100)


def test_jumps_go_from_mark_to_mark_and_to_the_ends() -> None:
    transport = Transport(100, 10**10, (50, 2 * SECOND_NS, 5 * SECOND_NS, 10**11))
    places = []
    for _ in range(3):
        transport.jump(1)
        places.append(transport.position_ns)
    assert places == [2 * SECOND_NS, 5 * SECOND_NS, 10**10]
    for _ in range(3):
        transport.jump(-1)
        places.append(transport.position_ns)
    assert places[3:] == [5 * SECOND_NS, 2 * SECOND_NS, 100]


def test_while_it_plays_a_jump_back_passes_the_mark_just_played() -> None:
    transport = Transport(0, 10**10, (2 * SECOND_NS, 5 * SECOND_NS))
    transport.seek(5 * SECOND_NS + 100_000_000)
    transport.toggle()
    transport.jump(-1)
    assert transport.position_ns == 2 * SECOND_NS
    assert transport.playing


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(-(10**12), 10**12))))
@settings(deadline=None)
def test_the_position_always_lies_between_the_ends(steps: list[tuple[str, int]]) -> None:
    transport = Transport(-500, 10**11, (7, 10**9))
    for step, number in steps:
        match step:
            case "step":
                transport.step(number)
            case "seek":
                transport.seek(number)
            case "jump":
                transport.jump(1 if number > 0 else -1)
            case "speed":
                transport.change_speed(1 if number > 0 else -1)
            case "toggle":
                transport.toggle()
        assert transport.first_ns <= transport.position_ns <= transport.last_ns
        assert 0 <= transport.ratio <= 1
        assert transport.speed in SPEEDS


# --- Knobs ---


def test_no_knob_can_be_changed(session: ReplaySession) -> None:
    controls = session.controls
    before = controls.scenario
    controls.set("server.rate_per_s", 7, 0)
    controls.release_brakes(0)
    controls.reset(0)
    assert controls.scenario is before
    assert controls.fault(controls.faults[0].kind, 0) == LOCKED


# --- The canvas ---


@given(st.lists(st.integers(1, TICKS), min_size=1, max_size=12))
@settings(deadline=None, max_examples=40)
def test_the_canvas_is_the_recorded_one_after_any_move(
    made: tuple[Path, dict[int, np.ndarray]], ticks: list[int]
) -> None:
    path, canvases = made
    with Recording.open(path) as recording:
        session = ReplaySession(recording, with_panels=False)
        for tick in ticks:
            at(session, tick)
            assert (session.view().pixels == canvases[tick]).all()
        session.close()


def test_ages_are_those_of_the_ticks_that_were_played(
    session: ReplaySession, made: tuple[Path, dict[int, np.ndarray]]
) -> None:
    canvases = made[1]
    at(session, 10)
    at(session, 40)
    changed = {tick: canvases[tick] != canvases[tick - 1] for tick in range(11, 41)}
    newest = np.zeros(canvases[0].shape, int)
    for tick, where in changed.items():
        newest[where] = tick
    page = session.canvas_page
    assert (page["pixel_tick"][newest > 0] == newest[newest > 0]).all()
    assert page["tile_tick"].max() == page["tiles"]["merged_tick"].max() == 40
    assert session.view().reading.tick >= 40


def test_ticks_are_stepped_one_by_one_and_hold_the_replay(session: ReplaySession) -> None:
    session.transport.toggle()
    session.transport.seek(time_of(5) + 3)
    session.step_tick(1)
    assert (session.transport.position_ns, session.transport.playing) == (time_of(6), False)
    session.step_tick(-1)
    session.step_tick(-1)
    assert session.transport.position_ns == time_of(4)


def test_small_pictures_are_of_their_moments(session: ReplaySession, made: tuple[Path, dict[int, np.ndarray]]) -> None:
    strip = session.filmstrip
    assert strip.wait(20)
    assert (strip.made_count, strip.fault) == (len(strip.times_ns), "")
    for index, time_ns in enumerate(strip.times_ns):
        assert (strip.picture(index) == made[1][(time_ns - STARTED_NS) // TICK_NS]).all()


# --- The history ---


def known(history: HistoryReader, head: int) -> np.ndarray:
    """The samples that are shown, without the rows of unknown figures before them."""
    found = history.between(head, STARTED_NS, time_of(TICKS))
    return found[np.isfinite(found["admitted_per_s"])]


def check_history(session: ReplaySession, tick: int) -> None:
    history = HistoryReader(session.pages.history)
    head = history.head
    found = known(history, head)
    assert found["time_ns"].tolist() == [time_of(number) for number in range(1, tick + 1)]
    assert found["admitted_per_s"].tolist() == [
        float(recorded.sample_of(n)["admitted_per_s"]) for n in range(1, tick + 1)
    ]
    assert history.newest_ns(head) == time_of(tick)
    everything = history.between(head, -(2**62), 2**62)["time_ns"]
    assert all(first < second for first, second in pairwise(everything.tolist()))


@given(st.lists(st.integers(1, TICKS), min_size=1, max_size=8))
@settings(deadline=None, max_examples=25)
def test_the_history_ends_at_the_moment(made: tuple[Path, dict[int, np.ndarray]], ticks: list[int]) -> None:
    with Recording.open(made[0]) as recording:
        session = ReplaySession(recording, with_panels=False)
        before = -1
        for tick in ticks:
            head = HistoryReader(session.pages.history).head
            at(session, tick)
            check_history(session, tick)
            assert tick == before or HistoryReader(session.pages.history).head != head, "the panels would not draw it"
            before = tick
        session.close()


class Halfway:
    """The rows of a ring, with a callback when half of a write is done."""

    def __init__(self, rows: np.ndarray, between: Callable[[], object]) -> None:
        self._rows, self._between = rows, between

    def __len__(self) -> int:
        return len(self._rows)

    def __setitem__(self, where: np.ndarray, rows: np.ndarray) -> None:
        half = len(where) // 2
        self._rows[where[:half]] = rows[:half]
        self._between()
        self._rows[where[half:]] = rows[half:]


@pytest.mark.parametrize("ring", ["_samples", "_marked"])
def test_panels_do_not_draw_half_written_rows(session: ReplaySession, ring: str) -> None:
    """A picture that is started before or while the replay goes back is not drawn from rows of two moments."""
    at(session, 60)
    page, picture = HistoryReader(session.pages.history), Picture(session.pages.picture)
    artist, looks = Renderer(page, picture), list[bool]()
    request = PictureRequest(320, 240, 1.0, ShowPanels(DEFAULT_NAMES))
    assert artist.draw(request)
    writer = getattr(session._history, ring)
    writer._rows = Halfway(writer._rows, lambda: looks.append(artist.draw(replace(request, width=400))))
    heads = page.head, page.marker_head
    assert page.holds(*heads) and len(known(page, heads[0])) == 60
    at(session, 1)
    assert looks == [False] and picture.serial == 1
    assert not page.holds(*heads)
    assert artist.draw(request) and picture.serial == 2
    expected = Panels(320, 240).draw(np.array([recorded.sample_of(1)]), TimeSpan.live_at(time_of(1)))
    np.testing.assert_array_equal(Picture(session.pages.picture).read(0)[1], expected)


class Empty:
    """A recording without a sample."""

    first_ns = STARTED_NS

    def samples(self, from_ns: int, to_ns: int) -> np.ndarray:
        return np.zeros(0, SAMPLE)


@given(st.lists(st.integers(-10, 2 * MARKER_ROWS + 30), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_markers_of_any_moment_are_shown_however_many_there_are(moments: list[int]) -> None:
    page = Page.create(history_sections())
    history, writer = HistoryReader(page), ReplayHistory(page, Empty())
    writer.markers = [Marker(STARTED_NS + n, "note", str(n)) for n in range(2 * MARKER_ROWS)]
    for moment in moments:
        writer.show(STARTED_NS + moment, ended_ns=0)
        found = [row["text"].decode() for row in history.markers(history.marker_head)]
        passed = [marker.text for marker in writer.markers if marker.time_ns <= STARTED_NS + moment]
        assert found == passed[-MARKERS_READ:]
        assert history.holds(history.head, history.marker_head)
    page.close()


def test_markers_appear_at_their_times(session: ReplaySession) -> None:
    history = HistoryReader(session.pages.history)
    at(session, 1)
    assert history.marker_head == 0
    at(session, 3)
    assert [row["text"].decode() for row in history.markers(history.marker_head)] == ["rate limit 60 > 30"]
    assert [marker.time_ns for marker in session.view().markers] == [time_of(2)]
    at(session, 1)
    assert len(history.markers(history.marker_head)) == 0


def test_a_longer_look_back_is_filled(
    made: tuple[Path, dict[int, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.replay.pages.BLOCK_NS", 2 * SECOND_NS)
    monkeypatch.setattr("workbench.replay.session.SPAN_NS_LEAST", SECOND_NS)
    monkeypatch.setattr("workbench.replay.pages.LEAD_NS", 0)
    with Recording.open(made[0]) as recording:
        session = ReplaySession(recording, with_panels=False)
        at(session, TICKS)
        history = HistoryReader(session.pages.history)
        assert len(known(history, history.head)) == 10
        session.show_panels(ShowPanels(("throughput",) * 4, span_s=5.0))
        session.poll(0)
        assert len(known(history, history.head)) == 50
        for _ in range(5):
            session.poll(0)
        check_history(session, TICKS)
        head = history.head
        session.poll(0)
        assert history.head == head, "all is there, nothing is to be drawn"
        session.close()


# --- Figures ---


def test_figures_are_those_of_the_last_sample(session: ReplaySession) -> None:
    at(session, 7.5)
    view, sample = session.view(), recorded.sample_of(7)
    assert view.reading.admitted_per_s == float(sample["admitted_per_s"])
    assert view.reading.merged_per_s == float(sample["broadcast_per_s"])
    assert view.reading.latency_ms_p50 is None
    assert view.run_seconds == pytest.approx(0.75)
    stages = {stage.name: stage for stage in view.stages}
    assert (stages["admit"].throughput_per_s, stages["admit"].depth_max) == (1007.0, 64)
    assert stages["viewers"].utilisation_ratio == 0.25
    assert list(stages) == ["admit", "viewers"], "of the others nothing is known, which is not an empty queue"


def test_the_bottleneck_is_that_of_the_moment(session: ReplaySession) -> None:
    at(session, 2)
    assert session.view().diagnosis.sentence == "idle"
    at(session, 4)
    assert session.view().diagnosis.bottleneck == "apply"


# --- Ends and faults ---


@pytest.mark.parametrize(
    ("from_s", "to_s", "words"),
    [(-1.0, None, "--from -1 is outside"), (None, 99.0, "which has 0 to 8.0 s"), (5.0, 4.0, "--from 5 is not before")],
)
def test_impossible_spans_are_rejected(
    made: tuple[Path, dict[int, np.ndarray]], from_s: float | None, to_s: float | None, words: str
) -> None:
    with Recording.open(made[0]) as recording, pytest.raises(UserError, match=words):
        ReplaySession(recording, from_s=from_s, to_s=to_s)


def test_a_damaged_place_holds_the_replay_and_the_rest_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "b.pxr"
    canvases = recorded.make(path, TICKS)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE ticks SET crc = crc + 1 WHERE tick = 45")
    with Recording.open(path) as recording:
        session = ReplaySession(recording, with_panels=False)
        at(session, 30)
        session.transport.toggle()
        session.poll(0)
        session.poll(2 * SECOND_NS)
        assert not session.transport.playing
        assert "tick 45 is not what was written" in session.view().failures[0]
        at(session, 20)
        assert session.view().failures == []
        assert (session.view().pixels == canvases[20]).all()
        session.close()
