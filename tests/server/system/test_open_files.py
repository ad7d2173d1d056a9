"""Open files: as many as wanted up to the hard limit, and never beyond it; and a loop that has none left."""

import errno
import os
import resource
import socket

import pytest

from server.accept.listener import NO_FILE_NS, NoFileLeft, accept_next, connections_allowed
from server.config import ServerConfig
from server.engine.engine import Engine
from server.ipc.page import Page, canvas_sections, telemetry_sections
from server.server import kind_of_loop
from server.system import open_files
from server.system.clock import now_ns
from support.serving import PATIENCE_S

NONE = resource.RLIM_INFINITY
POOR_COUNT = 5


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


def test_all_that_the_hard_limit_allows(limits: list[int]) -> None:
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
    """A listener of a process that may open no more files, the first `POOR_COUNT` times that it is asked."""

    fault = errno.EMFILE
    asked_count = 0

    @classmethod
    def known_to(cls, peer: socket.socket) -> "PoorListener":
        """One at which `peer` waits."""
        listener = cls()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        peer.connect(listener.getsockname())
        return listener

    def accept(self):
        self.asked_count += 1
        if self.asked_count <= POOR_COUNT:
            raise OSError(self.fault, os.strerror(self.fault))
        return super().accept()


class HastyListener(PoorListener):
    """One without pending connections, the first `POOR_COUNT` times."""

    fault = errno.EAGAIN


def accept_by_loop(kind: str, listener: socket.socket) -> None:
    """Serve until the peer at `listener` is accepted."""
    config = ServerConfig(width=32, height=32, loop=kind)
    engine = Engine(config, Page.create(telemetry_sections(1)), Page.create(canvas_sections(32, 32)))
    loop = kind_of_loop(config)(engine, 4, open_files.raise_to_hard())
    begun_ns = now_ns()
    loop.listen(listener, loop.inbox.append)
    while loop.client_count == 0:
        assert now_ns() - begun_ns < PATIENCE_S * 1_000_000_000, "nothing is accepted although there are files again"
        engine.next_tick_ns = now_ns() + NO_FILE_NS
        loop.serve()
    loop.stop_listening()
    loop.release()


@pytest.mark.parametrize("kind", ["native", "portable"])
def test_without_a_file_left_connections_wait_and_cost_nothing(kind: str) -> None:
    with socket.socket() as peer, PoorListener.known_to(peer) as listener:
        begun_ns = now_ns()
        accept_by_loop(kind, listener)
        assert now_ns() - begun_ns >= POOR_COUNT * NO_FILE_NS


@pytest.mark.parametrize("kind", ["native", "portable"])
def test_a_listener_without_pending_connections_does_not_rest(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next connection may come at once. If the listener rested, it would be for longer than this test waits."""
    monkeypatch.setattr("server.loops.loop.NO_FILE_NS", 2 * PATIENCE_S * 1_000_000_000)
    with socket.socket() as peer, HastyListener.known_to(peer) as listener:
        accept_by_loop(kind, listener)


def test_no_file_left_differs_from_no_connection() -> None:
    with socket.socket() as peer, PoorListener.known_to(peer) as listener, pytest.raises(NoFileLeft):
        accept_next(listener)
    with socket.socket() as peer, HastyListener.known_to(peer) as listener:
        assert accept_next(listener) is None


def test_the_error_of_one_connection_does_not_keep_others_out() -> None:
    faults = [errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ETIMEDOUT]

    class Unlucky(PoorListener):
        def accept(self):
            if faults:
                raise OSError(faults.pop(), "it is gone")
            return socket.socket.accept(self)

    with socket.socket() as peer, Unlucky.known_to(peer) as listener:
        found = accept_next(listener)
        assert found is not None
        accepted, host = found
        with accepted:
            assert (accepted.getpeername(), host) == (peer.getsockname(), "127.0.0.1")
        assert accept_next(listener) is None
