"""Open files: what is asked for is had up to the hard limit, and never beyond it; and a loop that has none left."""

import errno
import resource
import socket

import pytest
from serving import PATIENCE_S

from server import open_files
from server.clock import now_ns
from server.config import ServerConfig
from server.engine import Engine
from server.listener import connections_allowed
from server.loops.loop import NO_FILE_NS
from server.page import Page, canvas_sections, telemetry_sections
from server.server import kind_of_loop

NONE = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The soft and the hard limit of a process that is not this one."""
    present = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda which: tuple(present))
    monkeypatch.setattr(resource, "setrlimit", lambda which, wanted: present.__setitem__(slice(None), wanted))
    return present


@pytest.mark.parametrize(
    ("wanted", "had"),
    [(100, 1024), (1024, 1024), (1025, 1025), (4096, 4096), (5000, 4096)],
)
def test_as_many_as_wanted_up_to_the_hard_limit(limits: list[int], wanted: int, had: int) -> None:
    assert open_files.raise_to(wanted) == had
    assert limits == [had, 4096]


def test_all_that_may_be_had(limits: list[int]) -> None:
    assert open_files.raise_to_hard() == open_files.allowed_count() == 4096
    assert limits == [4096, 4096]


def test_no_limit_counts_as_a_million_and_stays_none(limits: list[int]) -> None:
    limits[:] = [1024, NONE]
    assert open_files.raise_to_hard() == open_files.UNLIMITED_COUNT
    assert limits == [open_files.UNLIMITED_COUNT, NONE]
    limits[:] = [NONE, NONE]
    assert open_files.raise_to(10**9) == open_files.UNLIMITED_COUNT
    assert limits == [NONE, NONE]


@pytest.mark.parametrize(("hard", "fit", "served"), [(4096, 4032, 4032), (70, 6, 6), (64, 0, 1), (10, 0, 1)])
def test_some_are_kept_for_other_files(limits: list[int], hard: int, fit: int, served: int) -> None:
    limits[:] = [10, hard]
    assert open_files.connections_that_fit() == fit
    assert connections_allowed(ServerConfig(connections_max=5000)) == served


class PoorListener(socket.socket):
    """A listener of a process that may open no more files, while it `is_poor`."""

    is_poor, asked_count = True, 0

    def accept(self):
        self.asked_count += 1
        if self.is_poor:
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


@pytest.mark.parametrize("kind", ["native", "portable"])
def test_without_a_file_left_who_knocks_waits_and_costs_nothing(kind: str) -> None:
    config = ServerConfig(width=32, height=32, loop=kind)
    engine = Engine(config, Page.create(telemetry_sections(1)), Page.create(canvas_sections(32, 32)))
    loop = kind_of_loop(config)(engine, 4, open_files.raise_to_hard())
    with PoorListener() as listener, socket.socket() as peer:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        peer.connect(listener.getsockname())
        loop.listen(listener, loop.inbox.append)
        begun_ns = now_ns()
        while listener.asked_count == 0 or now_ns() - begun_ns < 5 * NO_FILE_NS:
            engine.next_tick_ns = now_ns() + NO_FILE_NS
            loop.serve()
        assert listener.asked_count <= 1 + (now_ns() - begun_ns) // NO_FILE_NS
        listener.is_poor = False
        deadline_ns = now_ns() + PATIENCE_S * 1_000_000_000
        while loop.client_count == 0:
            assert now_ns() < deadline_ns, "nobody is let in although there are files again"
            engine.next_tick_ns = now_ns() + NO_FILE_NS
            loop.serve()
        loop.stop_listening()
        loop.release()
