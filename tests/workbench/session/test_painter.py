"""The manual client: pixels painted by hand reach the server's canvas through an ordinary connection."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.system import clock
from support.serving import PATIENCE_S, Serving
from workbench.address import Address
from workbench.session.manual_client import RETRY_FIRST_NS, RETRY_MAX_NS, WAITING_MAX, ManualClient


def paint_until(painter: ManualClient, condition: Callable[[], bool], skip_ns: int = 0) -> None:
    """Poll until the condition holds; `skip_ns` moves the painter's clock past its pauses."""
    deadline_ns = clock.now_ns() + PATIENCE_S * 1_000_000_000
    while not condition():
        assert clock.now_ns() < deadline_ns, (painter.reason, painter.waiting_count, painter.sent_count)
        painter.poll(clock.now_ns() + skip_ns)
        clock.wait_s(0.001)


@contextmanager
def closing_painter() -> Iterator[ManualClient]:
    """A client without an address."""
    painter = ManualClient()
    yield painter
    painter.close(clock.now_ns())


@pytest.fixture
def serving() -> Iterator[Any]:
    with Serving(width=40, height=30, tick_ms=10, rate_per_s=1000, burst=100) as serving:
        yield serving


@pytest.fixture
def painter(serving: Any) -> Iterator[ManualClient]:
    painter = ManualClient()
    painter.address = Address("127.0.0.1", serving.port)
    yield painter
    painter.close(clock.now_ns())


def test_it_connects_on_the_first_placement(painter: ManualClient, serving: Any) -> None:
    painter.poll(clock.now_ns())
    assert painter.connected_count == 0 and not painter.is_connected
    painter.paint(3, 4, 200)
    paint_until(painter, lambda: serving.pixels[4, 3] == 200)
    assert painter.connected_count == 1 and painter.sent_count == 1 and painter.waiting_count == 0


def test_a_stroke_is_complete_and_within_the_rate(painter: ManualClient, serving: Any) -> None:
    for x in range(40):
        for y in range(10):
            painter.paint(x, y, 100 + y)
    paint_until(painter, lambda: serving.counted("admitted_count") == 400)
    assert (serving.pixels[:10] == [[100 + y] * 40 for y in range(10)]).all()
    assert painter.sent_count == 400 and painter.throttled_count == 0 == serving.counted("throttled_count")


def test_throttled_placements_are_counted(painter: ManualClient, serving: Any) -> None:
    painter.paint(0, 0, 1)
    paint_until(painter, lambda: painter.sent_count == 1)
    painter.allow(10**9, 10**9)
    for _ in range(300):
        painter.paint(1, 1, 2)
    paint_until(painter, lambda: painter.throttled_count > 0)
    assert painter.throttled_count <= serving.counted("throttled_count")


def test_it_reports_missing_descriptors_and_retries(
    painter: ManualClient, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    now_ns = clock.now_ns()
    painter.paint(3, 4, 200)
    with monkeypatch.context() as patch:
        patch.setattr("devices.client.socket.socket", refuse)
        painter.poll(now_ns)
    assert painter.reason == "too many open files" and painter.waiting_count == 1
    paint_until(painter, lambda: serving.pixels[4, 3] == 200, skip_ns=RETRY_MAX_NS)


def test_it_reconnects_when_its_connection_is_lost(painter: ManualClient, serving: Any) -> None:
    painter.paint(1, 1, 50)
    paint_until(painter, lambda: serving.pixels[1, 1] == 50)
    serving.stop()
    paint_until(painter, lambda: not painter.is_connected)
    assert painter.reason
    with Serving(width=40, height=30, tick_ms=10) as other:
        painter.address = Address("127.0.0.1", other.port)
        painter.paint(2, 2, 60)
        paint_until(painter, lambda: other.pixels[2, 2] == 60, skip_ns=RETRY_FIRST_NS)
        assert painter.connected_count == 2
        painter.close(clock.now_ns())


def test_a_refused_connection_is_retried_later(serving: Any) -> None:
    painter = ManualClient()
    serving.stop()
    painter.address = Address("127.0.0.1", serving.port)
    painter.paint(1, 1, 1)
    paint_until(painter, lambda: bool(painter.reason))
    assert painter.waiting_count == 1 and "refused" in painter.reason
    painter.close(clock.now_ns())


def test_a_full_queue_drops_the_oldest_and_counts_them() -> None:
    painter = ManualClient()
    for _ in range(WAITING_MAX + 5):
        painter.paint(0, 0, 0)
    assert painter.waiting_count == WAITING_MAX and painter.dropped_count == 5


def test_tls_accepts_only_a_trusted_server(certificates: Callable[[str], Path]) -> None:
    ours, other = certificates("ours"), certificates("other")
    cert, key = str(ours / "cert.pem"), str(ours / "key.pem")
    with Serving(cert=cert, key=key) as serving, closing_painter() as painter:
        painter.address = Address("127.0.0.1", serving.port, certificate=str(ours / "ca.key"))
        painter.paint(3, 4, 200)
        paint_until(painter, lambda: "ca.key" in painter.reason, RETRY_FIRST_NS)
        painter.address = Address("127.0.0.1", serving.port, certificate=str(other / "cert.pem"))
        paint_until(painter, lambda: "certificate verify failed" in painter.reason, RETRY_MAX_NS)
        assert painter.connected_count == 0
        painter.address = Address("127.0.0.1", serving.port, certificate=cert)
        paint_until(painter, lambda: serving.pixels[4, 3] == 200, RETRY_MAX_NS)
