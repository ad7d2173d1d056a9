"""Values shared by threads: an update between two steps of another thread is not lost."""

import sys
import threading
from queue import SimpleQueue

from server.bridge.loop import BridgeLoop
from server.config import ServerConfig
from server.engine.engine import Engine
from server.ipc.page import Page, canvas_sections, telemetry_sections
from support.engine_bench import Bench
from support.interrupted import Meanwhile, NoticedLock
from workbench.bench.peers.counter import Counter
from workbench.session.processes import KILL_WAIT_S, Ended, Process, ProcessEvent


class Interrupting(int):
    """A number that lets another thread work while it is added to."""

    meanwhile: Meanwhile

    def __add__(self, other: int) -> int:
        self.meanwhile.begin()
        return int(self) + other


def test_loops_that_greet_at_once_give_distinct_numbers() -> None:
    engine, lock, taken = Bench().engine, NoticedLock(), list[int]()
    engine._numbers_lock = lock
    engine._numbers = Interrupting(0)
    engine._numbers.meanwhile = meanwhile = Meanwhile(lambda: taken.append(engine.hello().connection), lock)
    taken.append(engine.take_numbers(3))
    meanwhile.end()
    assert sorted(taken) == [1, 4]


def test_a_peer_s_last_count_is_not_overwritten() -> None:
    """The periodic publisher has read the count when the last count is published."""
    page = Page.create(telemetry_sections(1))
    lock = NoticedLock()

    class Counted(Counter):
        @property
        def count(self) -> int:
            seen = self.so_far
            if seen == 1:
                self.so_far = 2
                meanwhile.begin()
            return seen

        @count.setter
        def count(self, value: int) -> None:
            self.so_far = value

    tally = Counted(page, ServerConfig())
    tally._lock = lock
    tally.so_far = 1
    meanwhile = Meanwhile(tally.publish, lock)
    tally.publish()
    meanwhile.end()
    assert page["loops"][0]["received_count"] == page["loops"][0]["admitted_count"] == 2


def test_a_bridge_rung_just_before_it_waits_does_not_wait() -> None:
    config = ServerConfig(width=64, height=64, mqtt="mqtt://127.0.0.1:1")
    engine = Engine(config, Page.create(telemetry_sections(1)), Page.create(canvas_sections(64, 64)))
    loop = BridgeLoop(engine, lambda state, text: None)
    engine.next_tick_ns = 2**62

    class Bell(threading.Event):
        def clear(self) -> None:
            engine.is_hurried = True
            loop.wake()
            super().clear()

        def wait(self, timeout: float | None = None) -> bool:
            raise AssertionError("it waits, and was rung")

    loop._inbox.arrived = Bell()
    loop.serve()
    assert engine.is_hurried


class Talkative(str):
    """A line that adds another error line while it is read."""

    __slots__ = ("child",)
    child: Process

    def strip(self, *_: object) -> str:
        with self.child._stderr_lock:
            self.child._stderr_lines.append("more")
        return str(self)


def test_a_process_that_still_writes_errors_has_a_reason() -> None:
    heard: SimpleQueue[ProcessEvent] = SimpleQueue()
    child = Process("server", [sys.executable, "-c", "import sys; sys.exit('no room')"], [], heard)
    assert heard.get(timeout=60).event == Ended(1)
    assert child.wait(KILL_WAIT_S)
    line = Talkative("last words")
    line.child = child
    child._stderr_lines.extend([line, line])
    assert child.reason() == "ended with exit code 1: last words"
    assert child.traceback() == ""
    child.stop(0)
