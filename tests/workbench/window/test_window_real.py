"""A window on a real display, driven by real mouse and key events: Xvfb shows it, xdotool sends the events.

Nothing is timed: each step waits for the window's own word that it was done.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.serving import PATIENCE_S

HERE = Path(__file__).parents[2]
SCREEN = (1400, 900)

SHOWN = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from support.window_stage import DIAGNOSIS, STAGES, FakeSession, heat_map
from workbench.window.shell.window import Window

session = FakeSession(heat_map(64, 64), stages=STAGES, diagnosis=DIAGNOSIS)
window = Window(session, size=(1280, 720))
knobs, reported = window._layout.knobs, None

def tell():
    global reported
    placed = knobs._find("fleet.rate_per_s")
    state = {
        "rate": session.controls.value("fleet.rate_per_s"),
        "slider": list(placed.box) if placed else None,
        "theme": window._layout.theme.name,
        "folded": knobs.folded,
        "help": window._layout.help.shown,
        "focus": knobs._focus,
        "stage": window._layout.pipeline.selected,
        "tip": window._layout.tooltip._tip is not None,
        "pipeline": list(window._layout.boxes.pipeline),
    }
    if state != reported:
        reported = state
        print(json.dumps(state), flush=True)
    return False

window.run(until=tell)
window.close()
print(json.dumps({"closed": True}), flush=True)
"""


class RealWindow:
    """The window's process, the last state it reported, and mouse and keyboard input."""

    def __init__(self, display: str, xdotool: str) -> None:
        self._environment = os.environ | {"DISPLAY": display, "SDL_VIDEODRIVER": "x11"}
        self._xdotool = xdotool
        command = [sys.executable, "-c", SHOWN, str(HERE)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=self._environment, cwd=HERE.parent
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.state: dict[str, Any] = {}

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for the window to tell that this holds."""
        while not holds(self.state):
            try:
                self.state = json.loads(self._lines.get(timeout=PATIENCE_S))
            except queue.Empty:
                pytest.fail(f"the window never reported: {what}; its last state: {self.state}")

    def do(self, *words: object) -> str:
        """One line of xdotool. Returns what it says."""
        line = [self._xdotool, *map(str, words)]
        done = subprocess.run(
            line, env=self._environment, check=True, timeout=PATIENCE_S, capture_output=True, text=True
        )
        return done.stdout

    def take_focus(self) -> None:
        """Without a window manager the window has no keyboard focus. It is in the middle of the screen."""
        said = self.do("mousemove", SCREEN[0] // 2, SCREEN[1] // 2, "getmouselocation", "--shell")
        self._number = dict(line.split("=") for line in said.split())["WINDOW"]
        self.do("windowfocus", "--sync", self._number)

    def move(self, x: int, y: int) -> None:
        """The mouse to this place of the window."""
        self.do("mousemove", "--window", self._number, x, y)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def display(needs_program: Callable[[str, str], str]) -> Iterator[str]:
    """A display of its own; the server reports its number."""
    xvfb = needs_program("Xvfb", "install the package xvfb")
    reader, writer = os.pipe()
    server = subprocess.Popen(
        [xvfb, "-displayfd", str(writer), "-screen", "0", f"{SCREEN[0]}x{SCREEN[1]}x24", "-nolisten", "tcp"],
        pass_fds=(writer,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as reported:
        number = reported.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait(PATIENCE_S)


@pytest.fixture
def window(display: str, needs_program: Callable[[str, str], str]) -> Iterator[RealWindow]:
    shown = RealWindow(display, needs_program("xdotool", "install the package xdotool"))
    yield shown
    shown.end()


def test_a_real_mouse_and_real_keys_work_the_window(window: RealWindow) -> None:
    window.until("it is drawn", lambda state: bool(state.get("slider")))
    window.take_focus()
    first = window.state["rate"]

    left, top, width, height = window.state["slider"]
    y = top + height - 9
    window.move(left + 30, y)
    window.do("mousedown", 1)
    window.move(left + width // 2, y)
    window.move(left + width - 20, y)
    window.do("mouseup", 1)
    window.until("the drag turned the knob", lambda state: state["rate"] > first)
    window.until("the slider has the focus", lambda state: state["focus"] == "fleet.rate_per_s")
    window.do("key", "Home")
    window.until("the key turned the knob", lambda state: state["rate"] == 0)
    window.do("type", "35")
    window.do("key", "Return")
    window.until("the number was typed", lambda state: state["rate"] == 35)

    x, y, width, height = window.state["pipeline"]
    window.move(x + width - 60, y + height // 2)
    window.until("a tip is shown", lambda state: state["tip"])
    window.do("click", 1)
    window.until("the stage is selected", lambda state: state["stage"] == "viewers")
    window.do("key", "t")
    window.until("the colours are light", lambda state: state["theme"] == "light")
    window.do("key", "F1")
    window.until("the help is shown", lambda state: state["help"])
    window.do("key", "Escape")
    window.until("the help is closed", lambda state: not state["help"])
    window.do("key", "q")
    window.until("it has closed", lambda state: state.get("closed", False))
    assert window.process.wait(PATIENCE_S) == 0
