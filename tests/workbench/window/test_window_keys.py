"""Keys, mouse and resizing, on SDL's dummy display; and the pace of redraws."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from server import palette
from support.window_stage import (
    FAR_NS,
    READING,
    FakeSession,
    Written,
    boxes,
    canvas_area,
    headless,
    heat_map,
    noise,
    part_of,
    rgb,
    words,
)
from workbench.errors import RunError
from workbench.window.overview.header import FIGURES
from workbench.window.overview.overlay import Toast
from workbench.window.shell import saving
from workbench.window.shell.pace import FAST_INTERVAL_NS, INTERVAL_NS, Pace
from workbench.window.shell.window import RESIZE_SETTLE_NS, Window
from workbench.window.toolkit import display as toolkit
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.keys import BINDINGS, Action, action_of

SECOND_NS = 1_000_000_000


@pytest.fixture
def on_display() -> Iterator[Callable[..., Window]]:
    """Opens windows on SDL's dummy display, and closes them."""
    windows: list[Window] = []

    def show(session: FakeSession, size: tuple[int, int] = (1280, 720)) -> Window:
        windows.append(Window(session, size=size))
        return windows[-1]

    yield show
    for window in windows:
        window.close()


def press(key: int) -> None:
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_pause_freezes_canvas_and_panels_but_not_the_figures(written: list[Written]) -> None:
    pixels = heat_map(64, 64)
    session = FakeSession(pixels.view())
    window = headless(session)
    placed = boxes(session)
    session.finish_picture(noise(placed.panels.size))
    before = rgb(window.draw())
    window.press(Action.PAUSE, 0)
    assert window.paused
    pixels[:] = palette.WHITE
    session.finish_picture(np.zeros((placed.panels.height, placed.panels.width, 3), np.uint8))
    session.finish_picture(np.zeros((placed.panels.height, placed.panels.width, 3), np.uint8))
    session.change(reading=replace(READING, tick=5_000))
    held = rgb(window.draw())
    assert np.array_equal(part_of(held, placed.panels), part_of(before, placed.panels))
    area = canvas_area(session, (1600, 1000))
    below = pygame.Rect(area.left, area.centery, area.width, area.bottom - area.centery)
    assert np.array_equal(part_of(held, below), part_of(before, below))
    assert "paused" in words(written) and "tick\n5,000" in words(written)
    window.press(Action.PAUSE, 0)
    after = rgb(window.draw())
    assert not window.paused
    assert (part_of(after, area) == 255).all() and not part_of(after, placed.panels).any()


def test_the_help_lists_every_key_and_figure(written: list[Written]) -> None:
    session = FakeSession(heat_map(64, 64))
    window = headless(session)
    before = rgb(window.draw())
    written.clear()
    window.press(Action.HELP, 0)
    window.draw()
    said = words(written)
    for binding in BINDINGS:
        assert f"{binding.keys}\n{binding.meaning}" in said
    for figure in FIGURES:
        assert f"{figure.label}\n{figure.meaning}" in said
    window.press(Action.HELP, 0)
    assert np.array_equal(rgb(window.draw()), before)


def test_the_hints_name_every_key(written: list[Written]) -> None:
    headless(FakeSession(heat_map(64, 64)))
    for binding in BINDINGS:
        assert not binding.hint or f"{binding.keys}\n{binding.hint}" in words(written)
    assert action_of(pygame.K_z) is None


def test_a_screenshot_is_saved_and_its_path_is_shown(
    written: list[Written], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    window = headless(FakeSession(heat_map(64, 64)))
    shown = rgb(window.draw())
    window.press(Action.SCREENSHOT, 0)
    window.step(0)
    path = tmp_path / "first_light-001.png"
    assert np.array_equal(rgb(pygame.image.load(path)), shown)
    assert f"saved {path}" in words(written)
    window.press(Action.SCREENSHOT, 0)
    assert (tmp_path / "first_light-002.png").exists()
    window.step(Toast.SHOWN_NS)
    assert np.array_equal(rgb(window.step(Toast.SHOWN_NS + 1)), shown)


def test_a_screenshot_has_a_valid_file_name(tmp_path: Path) -> None:
    assert saving.free_path(tmp_path, "../my scenario.toml", "-{:03}.png").name == "my_scenario.toml-001.png"
    assert saving.free_path(tmp_path, "///", "-{}.toml").name == "canvas-1.toml"


def test_save_writes_png_whatever_the_suffix(tmp_path: Path) -> None:
    window = headless(FakeSession(heat_map(64, 64)), (1280, 720))
    path = tmp_path / "picture.out"
    window.save(path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    assert pygame.image.load(path, "picture.png").size == (1280, 720)
    with pytest.raises(RunError, match="Is a directory"):
        window.save(tmp_path)


# --- On a display -----------------------------------------------------------------------------------------------------


def test_display_and_memory_pictures_are_equal(on_display: Callable[..., Window]) -> None:
    session = FakeSession(heat_map(80, 64))
    shown = on_display(session).draw()  # The dummy screen is narrower than the window asked for.
    assert np.array_equal(rgb(shown), rgb(headless(session, shown.size).draw()))


def test_nothing_is_redrawn_while_nothing_changes(
    on_display: Callable[..., Window], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    session = FakeSession(heat_map(64, 64))
    window = on_display(session)
    window.step(FAR_NS)
    monkeypatch.setattr(toolkit.Display, "show", lambda self: shown.append(1))
    for redraw in range(1, 20):
        window.step(FAR_NS + redraw * SECOND_NS)
    assert shown == []
    session.change(reading=replace(READING, tick=READING.tick + 1))
    window.step(FAR_NS + 20 * SECOND_NS)
    assert shown == [1]


@pytest.mark.parametrize("key", [pygame.K_ESCAPE, pygame.K_q])
def test_a_key_closes_the_help_before_the_window(on_display: Callable[..., Window], key: int) -> None:
    session = FakeSession(heat_map(64, 64))
    window = on_display(session)
    press(pygame.K_F1)
    press(key)
    window.run(until=lambda: session.poll_count == 1)
    assert session.poll_count == 1
    press(key)
    window.run(until=lambda: session.poll_count == 50)
    assert session.poll_count == 2


def test_closing_the_window_ends_the_run(on_display: Callable[..., Window]) -> None:
    session = FakeSession(heat_map(64, 64))
    window = on_display(session)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    window.run(until=lambda: session.poll_count == 50)
    assert session.poll_count == 1


def test_space_pauses(on_display: Callable[..., Window]) -> None:
    window = on_display(FakeSession(heat_map(64, 64)))
    press(pygame.K_SPACE)
    window.step(0)
    assert window.paused


def test_the_mouse_shows_the_pixel_under_it(on_display: Callable[..., Window], written: list[Written]) -> None:
    session = FakeSession(heat_map(64, 64))
    window = on_display(session)
    area = canvas_area(session, (1280, 720))
    factor = area.width // 64
    at = (area.left + 3 * factor, area.top + 5 * factor + factor - 1)
    before = rgb(window.step(0))
    pygame.event.post(pygame.event.Event(pygame.MOUSEMOTION, pos=at, rel=(0, 0), buttons=(0, 0, 0)))
    window.step(0)
    index = int(session.shown.pixels[5, 3])
    assert f"x 3  y 5\ncolour {index}  {palette.hex_colors()[index]}" in words(written)
    pygame.event.post(pygame.event.Event(pygame.WINDOWLEAVE))
    assert np.array_equal(rgb(window.step(0)), before)


def test_a_resize_moves_everything_and_asks_for_panels_once_stable(
    on_display: Callable[..., Window],
) -> None:
    session = FakeSession(heat_map(64, 64))
    window = on_display(session)
    assert window._display is not None
    window._display._window.size = (1500, 800)
    window.step(FAR_NS)
    assert len(session.resized) == 1
    window.step(FAR_NS + RESIZE_SETTLE_NS)
    assert session.resized[1:] == [(*boxes(session, (1500, 800)).panels.size, 1.0)]
    assert np.array_equal(rgb(window.draw()), rgb(headless(session, (1500, 800)).draw()))


def test_full_screen_and_back_redraw_everything(on_display: Callable[..., Window]) -> None:
    session = FakeSession(heat_map(64, 64))
    window = on_display(session)
    for _ in range(2):
        press(pygame.K_F11)
        size = window.step(0).size
        assert np.array_equal(rgb(window.draw()), rgb(headless(session, size).draw()))


def test_a_missing_display_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(toolkit.NoDisplay, match="neither DISPLAY nor WAYLAND_DISPLAY is set; use --headless") as caught:
        Window(FakeSession(heat_map(64, 64)))
    assert "\n" not in str(caught.value)


def test_a_display_that_does_not_open_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    monkeypatch.setenv("DISPLAY", ":123")
    with pytest.raises(toolkit.NoDisplay, match=r":123 does not open .*; use --headless"):
        Window(FakeSession(heat_map(64, 64)))


class Flips:
    """The window of a display, with the pictures that came through it, each as the bytes of its pixels."""

    def __init__(self, window: pygame.Window) -> None:
        self.window, self.pictures = window, [b""]

    def __getattr__(self, name: str) -> object:
        return getattr(self.window, name)

    def flip(self) -> None:
        self.pictures.append(pygame.image.tobytes(self.window.get_surface(), "RGB"))
        self.window.flip()


def test_pictures_are_counted_that_the_display_was_given_and_that_show_something_new(
    on_display: Callable[..., Window],
) -> None:
    session = FakeSession(heat_map(64, 64))
    window = on_display(session)
    display = window._display
    assert display is not None
    flips = display._window = Flips(display._window)  # type: ignore[assignment]
    counted: list[None] = []
    window.on_picture = lambda: counted.append(None)
    now_ns, step_count = FAR_NS, 0
    for rate in (2e4, 4e4, 6e4, 8e4):
        session.change(reading=replace(READING, admitted_per_s=rate))
        now_ns += SECOND_NS  # Figures change a few times per second.
        for _ in range(10):  # Nothing changes in nine of them.
            step_count += 1
            window.step(now_ns := now_ns + FAST_INTERVAL_NS)
    new = sum(before != after for before, after in pairwise(flips.pictures))
    assert len(counted) == new and 0 < new < step_count / 2


# --- Pace -------------------------------------------------------------------------------------------------------------


def test_the_pace_is_30_per_second_and_measures_cost() -> None:
    pace = Pace()
    assert pace.fps is None and pace.redraws_per_s is None and pace.cpu_cores is None
    now_ns = 10**12
    for redraw in range(40):
        pace.count(now_ns, redraw * 2_400_000, redraw // 2)
        assert pace.rest_s(now_ns) == pytest.approx(INTERVAL_NS / 1e9)
        assert pace.rest_s(now_ns + INTERVAL_NS + 1) == 0
        now_ns += INTERVAL_NS
    assert pace.redraws_per_s == pytest.approx(30, rel=0.001)
    assert pace.fps == pytest.approx(15, abs=1)
    assert pace.cpu_cores == pytest.approx(0.072, rel=0.001)


class Redraws:
    """A pace, and the times passed to it."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.now_ns, self.cpu_ns = 10**12, 0

    def go(self, count: int, cost_ns: int, interval_ns: int = 0) -> int:
        """Run `count` redraws of this cost, when due or at this interval. Returns the interval chosen then."""
        for _ in range(count):
            self.cpu_ns += cost_ns
            self.pace.count(self.now_ns, self.cpu_ns)
            self.now_ns += interval_ns or self.pace.interval_ns
        return self.pace.interval_ns


def test_cheap_redraws_double_the_rate_until_they_are_expensive() -> None:
    redraws = Redraws()
    assert redraws.go(40, 500_000) == FAST_INTERVAL_NS
    assert redraws.go(200, 1_400_000) == FAST_INTERVAL_NS  # Between the two limits nothing changes.
    assert redraws.go(120, 2_500_000) == INTERVAL_NS
    assert redraws.go(300, 2_500_000) == INTERVAL_NS
    assert redraws.go(300, 1_400_000) == FAST_INTERVAL_NS


def test_late_redraws_lower_the_rate_for_a_while() -> None:
    redraws = Redraws()
    assert redraws.go(120, 500_000) == FAST_INTERVAL_NS
    assert redraws.go(90, 500_000, interval_ns=24_000_000) == INTERVAL_NS
    assert redraws.go(60, 500_000) == INTERVAL_NS


def test_a_late_redraw_is_not_made_up_for() -> None:
    pace = Pace()
    pace.count(0, 0)
    pace.count(10 * INTERVAL_NS, 0)
    assert pace.rest_s(10 * INTERVAL_NS) == pytest.approx(INTERVAL_NS / 1e9)


def test_a_slightly_late_redraw_does_not_shift_the_next() -> None:
    pace = Pace()
    pace.count(0, 0)
    pace.count(INTERVAL_NS + 5_000_000, 0)
    assert pace.rest_s(INTERVAL_NS + 5_000_000) == pytest.approx((INTERVAL_NS - 5_000_000) / 1e9)


def test_views_under_the_help_have_no_tooltips(on_display: Callable[..., Window]) -> None:
    window = on_display(FakeSession(heat_map(64, 64)))
    window.press(Action.HELP, FAR_NS)
    window.step(FAR_NS)
    middle = window._layout.boxes.panels.center
    for help_shown in (True, False):
        window._layout.help.shown = help_shown
        pygame.event.post(pygame.event.Event(pygame.MOUSEMOTION, pos=middle, rel=(1, 1), buttons=(0, 0, 0)))
        middle = (middle[0] + 1, middle[1])
        for seconds in (1, 2, 3):
            window.step(FAR_NS + (seconds + 10 * (not help_shown)) * 10**9)
        assert (window._layout.tooltip._tip is None) == help_shown
