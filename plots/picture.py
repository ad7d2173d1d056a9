"""The picture page: finished pictures from the process that draws to whoever shows them. Nobody waits.

The writer fills the buffer that is not in front, then its size, then turns `front`, then counts `serial`; only then may
it touch the other buffer. So a reader that finds the same serial before and after its copy holds a whole picture.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.ipc.page import PICTURE_SIDE_MAX, Page, picture_sections

SIDE_MIN = 16
"""The smallest picture that is drawn, whatever is asked for."""

Pixels = NDArray[np.uint8]


def fitting_size(width: int, height: int) -> tuple[int, int]:
    """The nearest size that the page can hold."""
    width_max, height_max = PICTURE_SIDE_MAX
    return min(max(width, SIDE_MIN), width_max), min(max(height, SIDE_MIN), height_max)


class Picture:
    """Both ends of the page of `page.picture_sections`: one process calls `show`, others `read`."""

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
        """Tell the processor time that the drawing process has used."""
        self._cpu_ns[0] = cpu_ns

    def show(self, pixels: Pixels) -> None:
        """Bring a picture to the front. `pixels`: shape (height, width, 4), of a fitting size."""
        height, width, _ = pixels.shape
        assert (width, height) == fitting_size(width, height)
        back = 1 - int(self._front[0])
        self._buffer(back, width, height)[...] = pixels
        self._size[back] = (width, height)
        self._front[0] = back
        self._serial[0] += 1

    def read(self, seen_serial: int, room: Pixels | None = None) -> tuple[int, Pixels] | None:
        """The front picture's serial and a copy of it, shape (height, width, 4): red, green, blue and a byte to skip.

        None when `seen_serial` is the newest, and when a newer one came in between: the next look gets that. The copy
        goes into `room`, shape (bytes,), where it fits: memory that was used before takes it several times as fast.
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
