"""Makes the canvas's picture a PNG, in a thread of its own, so that the loops go on meanwhile."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from server.web import routes

Asker = TypeVar("Asker")


class PngWorker(Generic[Asker]):
    """One loop's. `wake` is called from the worker's thread whenever there is something to `take`.

    Requests that come while a picture is made share the next one: they cost one thread and one picture at a time.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._askers: list[Asker] = []
        self._is_busy = False
        self._thread: threading.Thread | None = None
        self._ready: deque[tuple[Asker, routes.Response]] = deque()

    def ask(self, asker: Asker, pixels: NDArray[np.uint8]) -> None:
        """Have a picture made of `pixels`, shape (height, width), as they are when it is begun."""
        with self._lock:
            self._askers.append(asker)
            if self._is_busy:
                return
            self._is_busy = True
        self._thread = threading.Thread(target=self._work, args=(pixels,), name="png", daemon=True)
        self._thread.start()

    def take(self) -> tuple[Asker, routes.Response] | None:
        """The next answer that is ready, or None. This costs next to nothing."""
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Forget all requests, and wait for the picture that is being made: `wake` is not called after this."""
        with self._lock:
            self._askers.clear()
        if self._thread is not None:
            self._thread.join()

    def _work(self, pixels: NDArray[np.uint8]) -> None:
        while askers := self._next_askers():
            answer = routes.picture(pixels)
            self._ready.extend((asker, answer) for asker in askers)
            self._wake()

    def _next_askers(self) -> list[Asker]:
        with self._lock:
            askers, self._askers = self._askers, []
            # Without any the thread ends. This is under the lock, so that the next `ask` starts another.
            self._is_busy = bool(askers)
            return askers
