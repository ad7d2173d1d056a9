"""Something that happens between two steps of the code under test: in shared memory, or in another thread."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class _Watch:
    key: str | None
    happen: Callable[[], object] | None


class Interrupted(np.ndarray):
    """See `interrupted`."""

    _watch: _Watch | None = None

    def __array_finalize__(self, source: Any) -> None:
        self._watch = getattr(source, "_watch", None)

    def __getitem__(self, key: Any) -> Any:
        watch = self._watch
        if watch is not None and watch.happen is not None:
            if isinstance(key, str) and key == watch.key:
                self._happen(watch)
            elif isinstance(key, np.ndarray) and watch.key is None:
                rows = super().__getitem__(key)
                self._happen(watch)
                return rows
        return super().__getitem__(key)

    @staticmethod
    def _happen(watch: _Watch) -> None:
        happen, watch.happen = watch.happen, None
        assert happen is not None
        happen()


def interrupted(array: np.ndarray, key: str | None, happen: Callable[[], object]) -> np.ndarray:
    """The same memory. `happen` is called before the field `key` is read first; None: after rows are first copied."""
    view = array.view(Interrupted)
    view._watch = _Watch(key, happen)
    return view


class NoticedLock:
    """A lock that reports when a thread waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.wanted = threading.Event()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.wanted.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Meanwhile:
    """Work of another thread, begun in the middle of what this one does. `lock`: what it may have to wait for."""

    def __init__(self, work: Callable[[], object], lock: NoticedLock) -> None:
        self._work, self._lock = work, lock
        self._thread = threading.Thread(target=self._do, daemon=True)

    def begin(self) -> None:
        """Begin it, once. Returns when it is done, or waits for the lock."""
        if self._thread.ident is None:
            self._thread.start()
            assert self._lock.wanted.wait(60)

    def end(self) -> None:
        """Wait until it is done."""
        self._thread.join(60)
        assert self._thread.ident is not None and not self._thread.is_alive()

    def _do(self) -> None:
        self._work()
        self._lock.wanted.set()
