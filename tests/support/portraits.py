"""Makes the picture of each scenario in the window's list from a real run: the canvas, and the plot of one panel.

`PYTHONPATH=tests python -m support.portraits [NAME ...]`, after a change of what a scenario shows.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from plots.geometry import Box
from plots.history import HistoryReader
from plots.panels import Panels
from plots.style import DARK
from plots.timeline import TimeSpan
from server import palette
from server.system import clock, open_files
from workbench.errors import RunError
from workbench.scenarios.catalog import Pick, all_picks
from workbench.scenarios.scenario import PORTRAIT_SIZE
from workbench.session.session import Session
from workbench.stop_signal import StopSignal

_GAP = 6
_COLORS = 96
"""Colours of a picture: no steps are visible, and a file has about 20 kB."""
_SPAN_S = 30.0
_PLOT_SCALE = 2.0
_DRAWINGS = 3
"""The limits of an axis depend on earlier drawings; after three they are stable."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """The panel that shows a scenario best, and when, in seconds since its load began."""

    panel: str
    at_s: float = 20.0


PORTRAITS: dict[str, Portrait] = {
    "bursty": Portrait("drops"),
    "crowd": Portrait("throughput"),
    "first_light": Portrait("heat"),
    "greedy": Portrait("fairness"),
    "hostile": Portrait("drops"),
    "hotspot": Portrait("throughput"),
    "internet": Portrait("throughput"),
    "million": Portrait("throughput"),
    "million_regions": Portrait("heat"),
    "mqtt_sensors": Portrait("heat"),
    "overload": Portrait("queues", 38.0),
    "quiet_million": Portrait("stages"),
    "reconnect_storm": Portrait("throughput", 29.0),
    "seed": Portrait("throughput"),
    "slow_consumers": Portrait("heat", 24.0),
}


def portrait_of(session: Session, panel: str) -> Image.Image:
    """A picture of a running session, PORTRAIT_SIZE pixels, with few colours."""
    width, height = PORTRAIT_SIZE
    half = (width - _GAP) // 2
    sheet = Image.new("RGB", PORTRAIT_SIZE, DARK.page)
    canvas = _canvas(session, (half, height))
    sheet.paste(canvas, ((half - canvas.width) // 2, (height - canvas.height) // 2))
    sheet.paste(_plot(session, panel, width - half - _GAP, height), (half + _GAP, 0))
    return sheet.quantize(_COLORS, dither=Image.Dither.NONE)


def _canvas(session: Session, room: tuple[int, int]) -> Image.Image:
    """The canvas fitted into the room; enlarged pixels stay sharp."""
    image = Image.fromarray(palette.PALETTE[session.view().pixels], "RGB")
    factor = min(room[0] / image.width, room[1] / image.height)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX)


def _plot(session: Session, panel: str, width: int, height: int) -> Image.Image:
    """The panel's plot alone, without title, legend and axes."""
    history = HistoryReader(session.pages.history)
    head = history.head
    span = TimeSpan.live_at(history.newest_ns(head), _SPAN_S)
    samples = history.between(head, span.first_ns, span.end_ns)
    probe = _plot_box(Panels(2 * width, 2 * height, _PLOT_SCALE, (panel,)))
    # The margins keep their size, so a second sheet of this size has a plot of the wanted size.
    sheet = Panels(3 * width - probe.width, 3 * height - probe.height, _PLOT_SCALE, (panel,))
    for _ in range(_DRAWINGS):
        frame = sheet.draw(samples, span)
    box = _plot_box(sheet)
    return Image.fromarray(np.ascontiguousarray(frame[box.top : box.bottom, box.left : box.right, :3]), "RGB")


def _plot_box(panels: Panels) -> Box:
    return panels.panels[0].boxes.plot


def make_portrait(pick: Pick, stop: StopSignal) -> None:
    """Run a scenario until its time, and write its picture. Raises RunError when a part fails."""
    portrait = PORTRAITS[pick.name]
    session = Session(pick.scenario, with_panels=False)
    try:
        session.start(clock.now_ns())
        _poll_until(session, lambda: stop.asked or session.view().run_seconds >= portrait.at_s)
        if not stop.asked:
            pick.picture.parent.mkdir(exist_ok=True)
            portrait_of(session, portrait.panel).save(pick.picture, optimize=True)
    finally:
        session.end(is_checked=False)
        session.close()


def _poll_until(session: Session, condition: Callable[[], bool]) -> None:
    while not condition():
        session.wait(0.1)
        session.poll(clock.now_ns())
        if session.failed:
            raise RunError("; ".join(session.failures))


def main(names: list[str]) -> int:
    """Make the pictures of these scenarios, or of all. Returns the exit code."""
    open_files.raise_to_hard()
    with StopSignal() as stop:
        for pick in all_picks():
            if (pick.name in names or not names) and not stop.asked:
                make_portrait(pick, stop)
                print(pick.picture, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
