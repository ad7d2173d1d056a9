"""Small pictures of a recording's canvas at equal steps of time, made by a thread that reads the file on its own.

A picture does not change once it is there.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import UserError
from workbench.recording.reader import Recording

COUNT = 24
# Pixels of a picture's longer side, at most; none is enlarged.
SIDE_MAX = 128


class Filmstrip:
    """The pictures of (`from_ns`, `to_ns`), each at the middle of its share of the time."""

    def __init__(self, path: Path, from_ns: int, to_ns: int, count: int = COUNT) -> None:
        share_ns = (to_ns - from_ns) / count
        self.times_ns = tuple(round(from_ns + (index + 0.5) * share_ns) for index in range(count))
        self._path = path
        self._pictures: list[NDArray[Any] | None] = [None] * count
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._make, name="filmstrip", daemon=True)
        self.made_count = 0
        """How many are there, from the first on."""
        self.fault = ""
        """Why no more will come, one line; "" without a fault."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def picture(self, index: int) -> NDArray[Any] | None:
        """Palette indices, shape (height, width), uint8; None until it is made."""
        return self._pictures[index]

    def wait(self, seconds: float) -> bool:
        """Wait for all of them, or for this time. Returns whether no more will come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _make(self) -> None:
        try:
            with Recording.open(self._path) as recording:
                for index, time_ns in enumerate(self.times_ns):
                    if self._stopped.is_set():
                        return
                    self._pictures[index] = _small(recording.canvas_at(time_ns))
                    self.made_count = index + 1
        except UserError as error:
            self.fault = str(error)


def _small(pixels: NDArray[Any]) -> NDArray[Any]:
    """The canvas with sides of at most SIDE_MAX: every n-th pixel."""
    # Colours of a palette have no mean.
    step = max(1, -(-max(pixels.shape) // SIDE_MAX))
    return np.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step])
