"""Clients of a server at ::1: what each sends as Host, read by the `websockets` library."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from websockets.sync.server import ServerConnection, serve

from devices.client import Client, ConnectionEnded, Server, read_hello
from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.hostile.config import HostileConfig
from devices.hostile.counters import hostile_sections
from devices.hostile.pool import HostilePool
from devices.limits import FleetFailed, raise_open_files
from devices.sockets.dialer import Dialer
from devices.warm import warm_kernels
from server.ipc.page import Page, fleet_sections
from server.kernels.kernel import compile_all
from server.protocol.http import authority_of
from server.system.clock import now_ns
from support.serving import PATIENCE_S
from workbench.address import Address
from workbench.session.manual_client import ManualClient

HOST = "::1"
MS = 1_000_000


def has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind((HOST, 0))
        return True
    return False


class HostRecorder:
    """A server that records the Host header of each client, and closes."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        listener = socket.create_server((HOST, 0), family=socket.AF_INET6)
        self.port = listener.getsockname()[1]
        self._server = serve(self._note, sock=listener)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _note(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.hosts += connection.request.headers.get_all("Host")

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def recorder() -> Iterator[HostRecorder]:
    if not has_ipv6():
        pytest.skip("this machine has no ::1")
    recorder = HostRecorder()
    yield recorder
    recorder.close()


def until_recorded(recorder: HostRecorder, step: Callable[[int], object]) -> None:
    deadline_ns = now_ns() + PATIENCE_S * 1000 * MS
    while not recorder.hosts:
        at_ns = now_ns()
        assert at_ns < deadline_ns, "no client connected"
        step(at_ns)


def ask(recorder: HostRecorder) -> None:
    with pytest.raises(FleetFailed, match=rf"ws://\[::1\]:{recorder.port}/canvas ended the connection"):
        read_hello(Server(HOST, recorder.port, "/canvas"))


def join_fleet(recorder: HostRecorder) -> None:
    compile_all(warm_kernels(), lambda done, total, name: None)  # Or its handshake would wait for the compiler.
    fleet = Fleet(FleetConfig(connections=1), 70, 45, 1, Page.create(fleet_sections()))
    dialer = Dialer(fleet, HOST, recorder.port, "/canvas", raise_open_files(1))

    def step(at_ns: int) -> None:
        dialer.dial(at_ns)
        dialer.drive(at_ns + MS)

    until_recorded(recorder, step)
    dialer.abandon()


def misbehave(recorder: HostRecorder) -> None:
    page = Page.create(hostile_sections())
    pool = HostilePool(HostileConfig(connections=1), (HOST, recorder.port), "/canvas", 7, page["hostile"], 0)
    until_recorded(recorder, lambda at_ns: pool.drive(at_ns, 1))
    pool.close()


def paint(recorder: HostRecorder) -> None:
    painter = ManualClient()
    painter.address = Address(HOST, recorder.port)
    painter.paint(1, 1, 1)
    until_recorded(recorder, painter.poll)
    painter.close(now_ns())


def exchange(recorder: HostRecorder) -> None:
    client = Client(HOST, recorder.port, timeout_s=0)

    def step(at_ns: int) -> None:
        with suppress(ConnectionEnded):
            client.exchange(at_ns)

    until_recorded(recorder, step)
    client.close()


@pytest.mark.parametrize("client", [ask, join_fleet, misbehave, paint, exchange])
def test_the_host_header_has_brackets(recorder: HostRecorder, client: Callable[[HostRecorder], None]) -> None:
    client(recorder)
    assert set(recorder.hosts) == {f"[::1]:{recorder.port}"}


@pytest.mark.parametrize(
    ("host", "authority"),
    [("::1", "[::1]:80"), ("2001:db8::7", "[2001:db8::7]:80"), ("127.0.0.1", "127.0.0.1:80"), ("a.test", "a.test:80")],
)
def test_only_an_ipv6_address_stands_in_brackets(host: str, authority: str) -> None:
    assert authority_of(host, 80) == authority
    assert authority_of(host, 0) == authority.removesuffix(":80")
