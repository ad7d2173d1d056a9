"""The darkroom: makes the canvas's picture a PNG, off the threads that serve.

A loop leaves its wish here and goes on; it is called up when the picture is there. Whoever wishes while one is being
made shares the next, so that any number of wishes costs one thread and one picture at a time. Invariant: a wish is
handed out once, after the picture that was begun after it.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from server.web import routes

Wish = TypeVar("Wish")


class PngWorker(Generic[Wish]):
    """One loop's. `call_up` is called from the darkroom's thread whenever there is something to `take`."""

    def __init__(self, call_up: Callable[[], None]) -> None:
        self._call_up = call_up
        self._lock = threading.Lock()
        self._wishes: list[Wish] = []
        self._is_busy = False
        self._thread: threading.Thread | None = None
        self._ready: deque[tuple[Wish, routes.Response]] = deque()

    def ask(self, wish: Wish, pixels: NDArray[np.uint8]) -> None:
        """Have a picture made of `pixels`, shape (height, width), as they are when it is begun."""
        with self._lock:
            self._wishes.append(wish)
            if self._is_busy:
                return
            self._is_busy = True
        self._thread = threading.Thread(target=self._work, args=(pixels,), name="darkroom", daemon=True)
        self._thread.start()

    def take(self) -> tuple[Wish, routes.Response] | None:
        """The next answer that is ready, or None. It costs next to nothing to ask."""
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Forget all wishes, and wait for the picture that is being made: after this nobody is called up."""
        with self._lock:
            self._wishes.clear()
        if self._thread is not None:
            self._thread.join()

    def _work(self, pixels: NDArray[np.uint8]) -> None:
        while wishes := self._next_wishes():
            answer = routes.picture(pixels)
            self._ready.extend((wish, answer) for wish in wishes)
            self._call_up()

    def _next_wishes(self) -> list[Wish]:
        """All that wait; none, and the thread ends."""
        with self._lock:
            wishes, self._wishes = self._wishes, []
            self._is_busy = bool(wishes)
            return wishes
