"""The window, under SDL's dummy driver or without any display: checked by what its picture shows."""

import os

os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"

from dataclasses import replace

import numpy as np

from server import palette
from server.control import Progress
from server.page import Page, picture_sections
from workbench.view import Part, Reading, View

RUNNING = (Part("server", "running"), Part("fleet", "running"), Part("panels", "running"))
READING = Reading(
    offered_per_s=61_240.0,
    received_per_s=61_100.0,
    admitted_per_s=58_310.0,
    throttled_per_s=2_790.0,
    shed_per_s=0.0,
    out_of_bounds_per_s=0.0,
    merged_per_s=17_400.0,
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
)


class FakeSession:
    """A session that shows what a test tells it to."""

    def __init__(self, pixels: np.ndarray, **changes: object) -> None:
        self.picture = Page.create(picture_sections())
        self.resized: list[tuple[int, int, float]] = []
        self.poll_count = 0
        pixels.setflags(write=False)
        self.shown = View(
            now_ns=0,
            scenario_name="first_light",
            scenario_title="First light: 1,000 devices paint a heat map",
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

    def finish_picture(self, rgb: np.ndarray) -> None:
        """Do as the panels' process does: draw into the back buffer, then turn it to the front."""
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
