"""Shared by the window's tests: a session that shows what a test sets, and functions that look at the picture."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from plots.ipc import ShowPanels, picture_sections
from server import palette
from server.ipc.control import Progress
from server.ipc.page import Page, canvas_sections, connection_sections, fleet_sections
from workbench.controls.controls import Controls
from workbench.scenarios.scenario import load_scenario
from workbench.telemetry.view import Diagnosis, Journey, Part, Reading, StageReading, TileBox, View
from workbench.window.shell.canvas_area import CanvasArea
from workbench.window.shell.window import Window
from workbench.window.toolkit import arrangement
from workbench.window.toolkit.display import pygame
from workbench.window.toolkit.painter import Painter
from workbench.window.toolkit.scene import Replay

FAR_NS = 10**18
"""Later than the clock of any machine, with which a window draws its first picture."""

CONNECTION_SLOTS = 2_000

RUNNING = (Part("server", "running"), Part("fleet", "running"), Part("panels", "running"))
READING = Reading(
    offered_per_s=61_240.0,
    received_per_s=61_100.0,
    admitted_per_s=58_310.0,
    throttled_per_s=2_790.0,
    shed_per_s=0.0,
    out_of_bounds_per_s=0.0,
    merged_per_s=17_400.0,
    delivered_per_s=17_400_000.0,
    broadcast_bytes_per_s=18_100_000.0,
    latency_ms_p50=71.0,
    latency_ms_p99=118.4,
    latency_ms_max=161.0,
    tick=1_234,
    tick_ms=100.0,
    connection_count=1_000,
    connection_target=1_000,
    subscriber_count=1_000,
    server_cpu_cores=0.31,
    fleet_cpu_cores=0.42,
    panels_cpu_cores=0.12,
    utilisation_ratio=0.28,
    ledger_gap=0,
)


STAGES = (
    StageReading("accept", "connections", 0.0, 0.04, 0.0, 0.0, 0, 0, 1024),
    StageReading("read", "reads", 85_000.0, 0.41, 1.2, 0.3, 400, 900, 4096),
    StageReading("decode", "messages", 1_020_000.0, 0.12, 0.06, 0.02, 30, 300, 8192),
    StageReading("admit", "placements", 1_020_000.0, 0.05, 0.03, 0.01, 20, 200, 65536, 0, (("rate", 8130.0),)),
    StageReading("apply", "placements", 1_010_000.0, 0.78, 0.02, 3.1, 3000, 5000, 8192, brake="+ 20 us an item"),
    StageReading("encode", "tiles", 5.0, 0.09, 3100.0, 0.0, 0, 1, 0),
    StageReading(
        "fan-out",
        "deltas",
        80_100.0,
        0.94,
        5.9,
        3100.0,
        7900,
        8192,
        8192,
        420.0,
        (("conflated", 4900.0), ("slow", 12.0)),
    ),
    StageReading("viewers", "deltas", 17_000.0, 0.22, 412_000.0, 412.0, 1000, 4000, 17000),
)
DIAGNOSIS = Diagnosis(
    "fan-out",
    "94 % busy; its queue holds 3.1 s of work and grows 0.2 s each second; 71 % of view latency is waiting here",
    "apply, 78 % busy",
    0.0,
    (
        "Busiest stage: fan-out, 94 % of the busiest loop's time.",
        "Its queue grew by 420 deltas a second over the last 5 s.",
        "So fan-out limits the run.",
    ),
)


class FakeSession:
    """A session that shows what a test sets."""

    def __init__(self, pixels: np.ndarray, **changes: object) -> None:
        self.picture = Page.create(picture_sections())
        self.resized: list[tuple[int, int, float]] = []
        self.poll_count = 0
        height, width = pixels.shape
        self.canvas_page = Page.create(canvas_sections(width, height))
        self.connections_page = Page.create(connection_sections(1, CONNECTION_SLOTS))
        self.fleet_page = Page.create(fleet_sections())
        self.replay: Replay | None = None
        self.asked: list[tuple[object, ...]] = []
        """The requests other than sizes, in order: ("brush", TileBox), ("follow", 7) ..."""
        self.journey_list: list[Journey] = []
        self.controls = Controls(
            load_scenario("first_light"),
            carry_out=lambda scenario: self.asked.append(("carry_out", scenario)),
            mark=lambda kind, text: self.asked.append(("mark", kind, text)),
        )
        pixels.setflags(write=False)
        self.shown = View(
            now_ns=0,
            scenario_name="first_light",
            scenario_title="A thousand devices paint one picture together, and a few greedy ones hit the rate limit.",
            url="ws://127.0.0.1:43121/canvas",
            parts=RUNNING,
            reading=READING,
            pixels=pixels,
            run_seconds=134.0,
        )
        self.change(**changes)

    def change(self, **changes: object) -> None:
        self.shown = replace(self.shown, **changes)

    def poll(self, now_ns: int) -> None:
        self.poll_count += 1

    def view(self) -> View:
        return self.shown

    def resize_panels(self, width: int, height: int, scale: float) -> None:
        self.resized.append((width, height, scale))

    def show_panels(self, order: ShowPanels) -> None:
        self.asked.append(("show_panels", order))

    def brush(self, tiles: TileBox | None) -> None:
        self.asked.append(("brush", tiles))

    def follow(self, number: int | None) -> None:
        self.asked.append(("follow", number))

    def journeys(self) -> list[Journey]:
        return self.journey_list

    def paint(self, x: int, y: int, color: int) -> None:
        self.asked.append(("paint", x, y, color))

    def finish_picture(self, rgb: np.ndarray) -> None:
        """Act as the panels' process: draw into the back buffer, then swap."""
        height, width, _ = rgb.shape
        back = 1 - int(self.picture["front"][0])
        rgbx = np.zeros((height, width, 4), np.uint8)
        rgbx[..., :3] = rgb
        self.picture["pixels"][back, : width * height * 4] = rgbx.ravel()
        self.picture["size"][back] = (width, height)
        self.picture["front"][0] = back
        self.picture["serial"][0] += 1


def heat_map(width: int, height: int) -> np.ndarray:
    """Shape (height, width), uint8: waves in the heat colours."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.sin(x / width * 9) + np.cos(y / height * 7) + np.sin((x + y) / width * 6)
    level = (waves + 3) / 6 * (palette.HEAT_COUNT - 1)
    return (palette.HEAT_FIRST + level).astype(np.uint8)


STARTING = (
    Part("server", "compiling", Progress("decode", 7, 19)),
    Part("fleet", "starting"),
    Part("panels", "starting"),
)
FLEET_FAILED = (
    Part("server", "running"),
    Part("fleet", "failed", failure="killed by signal 9"),
    Part("panels", "running"),
)


def headless(session: FakeSession, size: tuple[int, int] = (1600, 1000)) -> Window:
    return Window(session, size=size, headless=True)


def boxes(session: FakeSession, size: tuple[int, int] = (1600, 1000)) -> arrangement.Arrangement:
    """The boxes in a window of this size that shows this session."""
    height, width = session.shown.pixels.shape
    return arrangement.arrange(size, (width, height), len(session.shown.failures))


def rgb(surface: pygame.Surface) -> np.ndarray:
    """A copy of the picture, shape (height, width, 3), uint8."""
    return pygame.surfarray.array3d(surface).transpose(1, 0, 2)


def part_of(picture: np.ndarray, box: pygame.Rect) -> np.ndarray:
    return picture[box.top : box.bottom, box.left : box.right]


@dataclass(frozen=True)
class Written:
    """One text, the box it was meant for, and the rectangle of its letters."""

    text: str
    box: pygame.Rect
    letters: pygame.Rect
    whole: bool


def note_writing(monkeypatch: pytest.MonkeyPatch) -> list[Written]:
    """A list that gets every text written from now on."""
    texts: list[Written] = []
    write = Painter.write

    def note(
        self: Painter, target: object, text: str, box: pygame.Rect, lettering: object, align: str = "left"
    ) -> object:
        letters = write(self, target, text, box, lettering, align)
        texts.append(Written(text, box.copy(), letters.copy(), self.elided(text, box.width, lettering) == text))
        return letters

    monkeypatch.setattr(Painter, "write", note)
    return texts


def words(written: list[Written]) -> str:
    return "\n".join(entry.text for entry in written)


def canvas_area(session: FakeSession, size: tuple[int, int]) -> pygame.Rect:
    """The box of the whole canvas, fitted into its room above the tools."""
    height, width = session.shown.pixels.shape
    room = canvas_room(session, size)
    area = pygame.Rect((0, 0), arrangement.fit((width, height), room.size))
    area.center = room.center
    return area


def canvas_room(session: FakeSession, size: tuple[int, int] = (1600, 1000)) -> pygame.Rect:
    """The canvas's room without the tools under it."""
    placed, canvas_area = boxes(session, size), CanvasArea()
    canvas_area.place(placed.canvas, Painter(placed.scale))
    return canvas_area.room


def noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
