"""What the panels' process shares with the session: its orders, and the page on which it shows finished pictures.

The picture page is a double buffer, so neither side ever blocks. The writer fills the buffer that is not in front,
sets its size, flips `front`, then increments `serial`; only then may it touch the other buffer. A reader that finds
the same serial before and after its copy therefore holds one whole picture.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.ipc.control import Stop
from server.ipc.page import Page, Section

# The smallest picture that is drawn, whatever size is asked for.
SIDE_MIN = 16
# The largest width and height. Memory that is never drawn to costs nothing.
PICTURE_SIDE_MAX = (3840, 2160)

Pixels = NDArray[np.uint8]


class StartPanels(msgspec.Struct, frozen=True, tag=True):
    """First line to the panels' process: the history it reads, the picture it draws, and its first size in pixels."""

    history_fd: int
    picture_fd: int
    width: int
    height: int
    scale: float


class Resize(msgspec.Struct, frozen=True, tag=True):
    """Command: draw at this size from now on, in pixels; `scale` 2 doubles letters and lines."""

    width: int
    height: int
    scale: float


class ShowPanels(msgspec.Struct, frozen=True, tag=True):
    """Command: which panels to draw, and over which time."""

    names: tuple[str, ...]
    """Of `series.PANELS`, row by row, two per row."""
    theme: str = "dark"
    """A name in `style.THEMES`."""
    end_ns: int = 0
    """Time at the right edge; 0: the newest sample."""
    span_s: float = 60.0
    note: str = ""
    """Shown beside the titles of the panels that count only the selected tiles; "" when nothing is selected."""


PanelsCommand = Stop | Resize | ShowPanels


def picture_sections() -> dict[str, Section]:
    """Sections of the picture page: a double buffer of RGBX; `front` is the index of the finished buffer.

    `size` holds width and height of the picture in each buffer, which fills the buffer's first width x height x 4
    bytes; `serial` counts finished pictures; `cpu_ns` is the drawing process's processor time.
    """
    width, height = PICTURE_SIDE_MAX
    return {
        "front": (np.dtype("i8"), (1,)),
        "serial": (np.dtype("i8"), (1,)),
        "cpu_ns": (np.dtype("i8"), (1,)),
        "size": (np.dtype("u4"), (2, 2)),
        "pixels": (np.dtype("u1"), (2, height * width * 4)),
    }


def fitting_size(width: int, height: int) -> tuple[int, int]:
    """The nearest size that the page can hold."""
    width_max, height_max = PICTURE_SIDE_MAX
    return min(max(width, SIDE_MIN), width_max), min(max(height, SIDE_MIN), height_max)


class Picture:
    """Both ends of the page of `picture_sections`: one process calls `show`, others `read`."""

    def __init__(self, page: Page) -> None:
        self._front = page["front"]
        self._serial = page["serial"]
        self._cpu_ns = page["cpu_ns"]
        self._size = page["size"]
        self._pixels = page["pixels"]

    @classmethod
    def attach(cls, descriptor: int) -> "Picture":
        """The picture behind an inherited descriptor. Raises PageError or OSError when there is none."""
        return cls(Page.attach(descriptor, picture_sections()))

    @property
    def serial(self) -> int:
        """How many pictures were finished."""
        return int(self._serial[0])

    def account(self, cpu_ns: int) -> None:
        """Record the processor time that the drawing process has used."""
        self._cpu_ns[0] = cpu_ns

    def show(self, pixels: Pixels) -> None:
        """Bring a picture to the front. `pixels`: shape (height, width, 4), of a fitting size."""
        height, width, _ = pixels.shape
        assert (width, height) == fitting_size(width, height)
        back = 1 - int(self._front[0])
        self._buffer(back, width, height)[...] = pixels
        self._size[back] = (width, height)
        # The order of these two is the protocol: a reader sees `front` flipped only with an old or the new serial.
        self._front[0] = back
        self._serial[0] += 1

    def read(self, seen_serial: int, room: Pixels | None = None) -> tuple[int, Pixels] | None:
        """The front picture's serial and a copy of it, shape (height, width, 4): red, green, blue and an unused byte.

        None when `seen_serial` is the newest, or when a newer picture was finished during the copy: read again then.
        The copy goes into `room`, shape (bytes,), where it fits: memory that was used before takes it several times as
        fast.
        """
        serial = self.serial
        if serial == seen_serial:
            return None
        front = int(self._front[0])
        width, height = (int(side) for side in self._size[front])
        shown = self._buffer(front, width, height)
        if room is None or room.size < shown.size:
            room = np.empty(shown.size, np.uint8)
        pixels = room[: shown.size].reshape(shown.shape)
        pixels[...] = shown
        return (serial, pixels) if self.serial == serial else None

    def _buffer(self, index: int, width: int, height: int) -> Pixels:
        room: NDArray[Any] = self._pixels[index]
        return room[: width * height * 4].reshape(height, width, 4)
