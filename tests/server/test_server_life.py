"""A server on real sockets from start to end: listening, loops side by side, stopping; admitted changes are shown."""

import random
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.accept.listener import SEND_BUFFER_BYTES, CannotListen, open_listener
from server.config import ServerConfig
from server.kernels.layout import State
from server.protocol.messages import Delta, Place, PlaceMany, Snapshot, Subscribe
from support.serving import PATIENCE_S, Client, ClosedByServer, Serving

KINDS = pytest.mark.parametrize("loop", ["native", "portable"])


class TestListening:
    def test_a_busy_port_is_one_line_with_a_remedy(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(CannotListen, match=f"port {port}: Address already in use; choose another port"):
                Serving(port=port).server.listen()

    def test_an_address_of_another_machine_is_one_line_with_a_remedy(self):
        with pytest.raises(CannotListen, match=r"203\.0\.113\.1 .* choose another host"):
            Serving(host="203.0.113.1").server.listen()

    def test_the_page_has_port_and_state(self):
        serving = Serving()
        row = serving.telemetry["server"][0]
        assert row["state"] == State.STARTING
        with serving, serving.client() as client:
            client.ping()
            assert (row["state"], row["port"]) == (State.RUNNING, serving.port)
        assert row["state"] == State.STOPPED


class ManualClient:
    """Paints its own columns for a while and remembers them; watches everything."""

    def __init__(self, serving, index, columns):
        self.client = serving.client()
        self.client.send(Subscribe())
        self.client.until(Snapshot)
        self.lots = random.Random(index)
        self.columns = columns
        self.painted = {}

    def paint(self, rounds):
        for _ in range(rounds):
            batch = [self.lot() for _ in range(self.lots.randrange(1, 30))]
            if self.lots.random() < 0.5:
                self.client.send(*(Place(*one) for one in batch))
            else:
                self.client.send(PlaceMany(tuple(batch)))
            self.painted |= {(x, y): color for x, y, color in batch}
            if self.lots.random() < 0.3:
                self.client.ping()
        self.client.ping()

    def lot(self):
        return self.lots.choice(self.columns), self.lots.randrange(45), self.lots.randrange(256)


@KINDS
def test_forty_painters_on_two_loops_equal_an_oracle(loop):
    """Each paints pixels of its own, all at once, on a canvas that no loop owns; all see the same in the end."""
    with Serving(loop=loop, loops=2, width=80, rate_per_s=65_535, burst=65_535) as serving:
        painters = [ManualClient(serving, index, [2 * index, 2 * index + 1]) for index in range(40)]
        with ThreadPoolExecutor(40) as pool:
            list(pool.map(lambda painter: painter.paint(12), painters))
        assert sorted(serving.telemetry["loops"]["connection_count"])[0] >= 10
        for painter in painters:
            assert {(x, y): int(serving.pixels[y, x]) for x, y in painter.painted} == painter.painted
            while (painter.client.pixels != serving.pixels).any():
                painter.client.until(Delta)
        counted = {name: serving.counted(f"{name}_count") for name in ("received", "admitted", "applied", "throttled")}
        assert counted["received"] == counted["admitted"] == counted["applied"]
        assert counted["throttled"] == 0
        for painter in painters:
            painter.client.socket.close()


def place_until_closed(client, column):
    """Count up in one column until the server says goodbye; returns the last colour that a PONG vouched for."""
    vouched = 0
    try:
        for color in range(1, 256):
            client.send(Place(column, color % 45, color))
            client.ping()
            vouched = color
        return client.closed(), vouched
    except ClosedByServer as end:
        return (end.code, end.reason), vouched


@KINDS
@pytest.mark.parametrize("loops", [1, 2])
def test_stopping_drains(loop, loops, monkeypatch):
    """Busy clients get 1001; what was admitted before is on the canvas, and was shown to viewers."""
    monkeypatch.setattr("server.server.DRAIN_NS", PATIENCE_S * 1_000_000_000)  # All of them answer, however late.
    with Serving(loop=loop, loops=loops, rate_per_s=65_535, burst=65_535) as serving:
        clients = [serving.client() for _ in range(6)]
        viewer = serving.client()
        viewer.send(Subscribe())
        viewer.until(Snapshot)
        with ThreadPoolExecutor(6) as pool:
            ends = [pool.submit(place_until_closed, client, column) for column, client in enumerate(clients)]
            viewer.until(Delta)
            serving.server.stop()
            assert viewer.closed() == (1001, "the server stops")
            for column, end in enumerate(ends):
                said, vouched = end.result()
                assert said == (1001, "the server stops")
                if vouched:
                    assert serving.pixels[vouched % 45, column] == vouched
        serving.stop()
        assert (viewer.pixels == serving.pixels).all(), "a viewer has seen all that was admitted before the close frame"
        assert serving.counted("admitted_count") == serving.counted("applied_count")
        assert serving.counted("connection_count") == 0
        for client in [*clients, viewer]:
            client.socket.close()


def test_a_handshake_under_way_is_answered_503_when_it_stops():
    with Serving() as serving, serving.client() as witness, Client(serving.port) as late:
        late.send_raw(b"GET /canvas HTTP/1.1\r\n")
        witness.serve_until(lambda: serving.counted("accepted_count") == 2)
        serving.server.stop()
        assert late.head().startswith("HTTP/1.1 503 ")
        assert witness.closed()[0] == 1001


def test_a_client_that_does_not_answer_is_not_waited_for_long():
    """It has its time to answer; then the server ends all the same."""
    with Serving() as serving, serving.client() as client:
        serving.stop()
        assert client.closed()[0] == 1001
        assert serving.telemetry["server"][0]["state"] == State.STOPPED


def test_stopping_twice_and_before_it_runs():
    serving = Serving()
    serving.server.stop()
    with serving:
        serving.server.stop()
    assert serving.telemetry["server"][0]["state"] == State.STOPPED


@KINDS
def test_a_bug_ends_the_server_and_is_raised(loop, monkeypatch):
    """Nothing is swallowed: the other loops end too, connections are closed, and `run` raises."""
    serving = Serving(loop=loop, loops=2)

    def fail(*_):
        raise AssertionError("a bug")

    with pytest.raises(AssertionError, match="a bug"), serving, serving.client() as client:
        monkeypatch.setattr(serving.server._engine, "publish", fail)
        client.ended()


def test_the_system_holds_little_for_one_connection():
    """Left alone, Linux grows it to megabytes; each accepted socket inherits the listener's bound."""
    with open_listener(ServerConfig()) as listener, socket.create_connection(listener.getsockname()) as client:
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted, client:
            held = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            assert SEND_BUFFER_BYTES <= held <= 2 * SEND_BUFFER_BYTES
