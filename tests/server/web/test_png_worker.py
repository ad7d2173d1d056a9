"""The canvas as a picture over HTTP: right, off the loop's thread, once for all who ask at the same time."""

import io
import socket
import threading

import numpy as np
import pytest
from PIL import Image

from server.protocol.messages import Place
from server.web import routes as http
from server.web.png_worker import PngWorker
from support.serving import PATIENCE_S, Serving

REQUEST = b"GET /canvas.png HTTP/1.1\r\nHost: canvas.example\r\n\r\n"
LOOPS = ["native", "portable", "mailbox"]


@pytest.fixture
def slow_picture(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event, list[str]]:
    """Pictures wait for the second event and set the first; the list says which thread made each."""
    begun, may_end, threads, make = threading.Event(), threading.Event(), list[str](), http.picture

    def picture(pixels: np.ndarray) -> http.Response:
        threads.append(threading.current_thread().name)
        begun.set()
        assert may_end.wait(PATIENCE_S)
        return make(pixels)

    monkeypatch.setattr(http, "picture", picture)
    return begun, may_end, threads


def ask(serving: Serving, request: bytes = REQUEST) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", serving.port), PATIENCE_S)
    link.sendall(request)
    return link


def answer(link: socket.socket) -> tuple[bytes, bytes]:
    """Head and body, once the server has ended the stream."""
    data = b""
    with link:
        while part := link.recv(1 << 16):
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("loop", LOOPS)
def test_it_is_the_canvas(loop: str) -> None:
    with Serving(loop=loop) as serving, serving.client() as painter:
        painter.send(Place(3, 4, 200), Place(69, 44, 7))
        painter.ping()
        head, body = answer(ask(serving))
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"image/png" in head
        with Image.open(io.BytesIO(body), formats=["PNG"]) as picture:
            assert np.array_equal(np.asarray(picture), serving.pixels)
        head, body = answer(ask(serving, REQUEST.replace(b"GET", b"HEAD")))
        assert (head.startswith(b"HTTP/1.1 200 "), body) == (True, b"")


@pytest.mark.parametrize("loop", LOOPS)
def test_others_are_served_while_a_picture_is_made(
    loop: str, slow_picture: tuple[threading.Event, threading.Event, list[str]]
) -> None:
    begun, may_end, threads = slow_picture
    with Serving(loop=loop) as serving, serving.client() as painter:
        link = ask(serving)
        assert begun.wait(PATIENCE_S)
        painter.send(Place(3, 4, 200))
        painter.ping()
        assert serving.pixels[4, 3] == 200
        may_end.set()
        assert answer(link)[0].startswith(b"HTTP/1.1 200 ")
        assert "server" not in threads


@pytest.mark.parametrize("loop", LOOPS)
def test_one_who_leaves_before_the_picture_is_ready_hurts_nobody(
    loop: str, slow_picture: tuple[threading.Event, threading.Event, list[str]]
) -> None:
    begun, may_end, _ = slow_picture
    with Serving(loop=loop) as serving, serving.client() as painter:
        link = ask(serving)
        assert begun.wait(PATIENCE_S)
        closed = serving.counted("closed_count")
        link.close()
        if loop != "mailbox":  # It looks at its clients only between their events.
            painter.serve_until(lambda: serving.counted("closed_count") > closed)
        may_end.set()
        painter.ping()
        assert answer(ask(serving))[0].startswith(b"HTTP/1.1 200 ")


def test_a_server_that_stops_answers_at_once(
    slow_picture: tuple[threading.Event, threading.Event, list[str]],
) -> None:
    begun, may_end, _ = slow_picture
    with Serving() as serving:
        link = ask(serving)
        assert begun.wait(PATIENCE_S)
        serving.server.stop()
        assert answer(link)[0].startswith(b"HTTP/1.1 503 ")
        may_end.set()


def test_those_who_ask_meanwhile_share_the_next_picture(
    slow_picture: tuple[threading.Event, threading.Event, list[str]],
) -> None:
    begun, may_end, threads = slow_picture
    rung = threading.Semaphore(0)
    worker = PngWorker[int](rung.release)
    pixels = np.zeros((4, 4), np.uint8)
    worker.ask(0, pixels)
    assert begun.wait(PATIENCE_S)
    for asker in range(1, 50):
        worker.ask(asker, pixels)
    assert worker.take() is None
    may_end.set()
    assert rung.acquire(timeout=PATIENCE_S)
    assert rung.acquire(timeout=PATIENCE_S)
    assert [worker.take()[0] for _ in range(50)] == list(range(50))
    assert worker.take() is None
    assert len(threads) == 2
    worker.ask(50, pixels)
    assert rung.acquire(timeout=PATIENCE_S)
    assert worker.take()[0] == 50


def test_a_closed_one_calls_nobody(slow_picture: tuple[threading.Event, threading.Event, list[str]]) -> None:
    begun, may_end, _ = slow_picture
    rung = threading.Semaphore(0)
    worker = PngWorker[int](rung.release)
    worker.ask(0, np.zeros((4, 4), np.uint8))
    assert begun.wait(PATIENCE_S)
    worker.ask(1, np.zeros((4, 4), np.uint8))
    threading.Thread(target=may_end.set).start()
    worker.close()
    assert not any(thread.name == "png" for thread in threading.enumerate())
