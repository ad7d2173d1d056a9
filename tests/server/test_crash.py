"""A journaled server is killed at random points, and finds its disk full: nothing that anybody has seen is lost.

The journal is read here by plain SQL and the plain decoder, not by what the server starts from. More rounds than the
suite has: `CRASH_ROUNDS=200 pytest tests/server/test_crash.py`; a failure names its seed.
"""

import http.client
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from server.config import ServerConfig
from server.journal.recovery import recover
from server.journal.schema import row_crc
from server.protocol.blocks import apply_blocks, decode_blocks
from server.protocol.messages import Delta, Notice, Place, Pong, Snapshot, Subscribe
from server.wire import NoticeCode
from support.braking import wait_until
from support.serving import PATIENCE_S, Client

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "6"))
ROUNDS_A_FILE = 3
WIDTH, HEIGHT = 70, 45


class Served:
    """`workbench serve` with a journal, as a process that can be killed."""

    def __init__(self, journal, loop="native"):
        arguments = ["--journal", str(journal), "--size", f"{WIDTH}x{HEIGHT}", "--tick-ms", "5", "--loop", loop]
        arguments += ["--rate-per-s", "65535", "--burst", "65535"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workbench", "serve", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("listening on"):
            pytest.fail(f"the server did not start: {self.process.stderr.read()}")
        self.port = int(line.rsplit(":", 1)[1].partition("/")[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGKILL)

    def end(self, number):
        """Send it a signal, and wait for its end. Returns its exit code and what it wrote to standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, errors


class Viewer(Client):
    """A client that keeps what it held after each SNAPSHOT and DELTA."""

    def __init__(self, port, region=(0, 0, 0, 0), **options):
        super().__init__(port, **options)
        self.open()
        self.held = []
        x, y, width, height = region
        self.area = np.s_[y : y + (height or HEIGHT), x : x + (width or WIDTH)]
        self.send(Subscribe(0, x, y, width, height))

    def message(self):
        message = super().message()
        if isinstance(message, Snapshot | Delta):
            self.held.append((message.tick, self.pixels[self.area].copy()))
        return message

    def drain(self):
        """Take what a server that was killed had sent."""
        try:
            while True:
                self.message()
        except (EOFError, ConnectionResetError):
            self.socket.close()

    @property
    def ticks(self):
        """Every tick that was named to it."""
        return [message.tick for message in self.seen if isinstance(message, Snapshot | Delta | Pong)]


def canvases(path, ticks):
    """The canvas after each of `ticks`, as the file says: {tick: pixels}. Every row must be whole."""
    found = {}
    with closing(sqlite3.connect(path)) as file:
        snapshots = file.execute("SELECT tick, pixels FROM snapshots ORDER BY tick").fetchall()
        rows = file.execute(
            "SELECT tick, time_ns, encoding, tile_count, blocks, crc FROM ticks ORDER BY tick"
        ).fetchall()
    pixels, steps = np.zeros((HEIGHT, WIDTH), np.uint8), iter(sorted(set(ticks)))
    wanted = next(steps, None)
    for tick, time_ns, encoding, tile_count, blocks, crc in [*rows, (1 << 62, 0, 0, 0, b"", None)]:
        while wanted is not None and wanted < tick:
            found[wanted] = pixels.copy()
            wanted = next(steps, None)
        if crc is not None:
            assert crc == row_crc(tick, time_ns, encoding, tile_count, blocks)
            apply_blocks(pixels, decode_blocks(zlib.decompress(blocks) if encoding else blocks, tile_count))
    for tick, packed in snapshots:
        assert tick not in found or zlib.decompress(packed) == found[tick].tobytes()
    return found, rows[-1][0] if rows else 0


def paint_and_kill(served, lots):
    """Paint and watch, and kill the server at some point of it. Returns all viewers, with what they still received."""
    painter = Viewer(served.port)
    viewers = [painter, Viewer(served.port, (0, 0, 32, 32)), Viewer(served.port, receive_bytes=4096)]
    for _ in range(lots.randrange(1, 60)):
        count = lots.choice((1, 3, 40, 400))
        painter.send(*(Place(lots.randrange(WIDTH), lots.randrange(HEIGHT), lots.randrange(256)) for _ in range(count)))
        painter.message()
        if lots.random() < 0.2:
            painter.ping()
        if lots.random() < 0.5:
            viewers[1].ping()
    served.end(signal.SIGKILL)
    for viewer in viewers:
        viewer.drain()
    return viewers


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_whatever_was_seen_is_there_after_a_kill(seed, tmp_path_factory):
    lots = random.Random(seed)
    path = tmp_path_factory.mktemp("journal") / "canvas.pxj"
    last_tick, last_pixels = 0, np.zeros((HEIGHT, WIDTH), np.uint8)
    for _ in range(ROUNDS_A_FILE if ROUNDS <= 20 else 1):
        with Served(path, lots.choice(("native", "native", "portable"))) as served:
            viewers = paint_and_kill(served, lots)
        first = viewers[0].seen[1]
        assert isinstance(first, Snapshot)
        assert first.tick >= last_tick, "the tick number went back"
        assert first.pixels == last_pixels.tobytes(), "it did not go on with the canvas"
        seen = [tick for viewer in viewers for tick in viewer.ticks]
        found, newest = canvases(path, seen)
        for viewer in viewers:
            assert viewer.held or viewer is not viewers[0]
            for tick, held in viewer.held:
                assert (held == found[tick][viewer.area]).all(), f"tick {tick} was seen and is not on disk"
        last_tick, last_pixels = max(seen), canvases(path, [newest])[0][newest]
    recovered = recover(ServerConfig(width=WIDTH, height=HEIGHT, journal=str(path)), 1)
    recovered.store.close()
    assert recovered.tick >= last_tick
    assert recovered.notes == []
    assert (recovered.pixels == last_pixels).all()
    assert not path.with_name("canvas.pxj-wal").exists()


def health(port):
    """What /healthz answers: status and text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


class TestFullDisk:
    """A limit on the size of the server's files stands for a full disk."""

    def test_nothing_is_shown_until_there_is_room_again(self, tmp_path):
        path = tmp_path / "canvas.pxj"
        with Served(path) as served:
            viewer = Viewer(served.port)
            viewer.send(Place(1, 1, 7))
            viewer.until(Delta)
            limits = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            viewer.send(Place(2, 2, 8))
            assert viewer.until(Notice).code == NoticeCode.HELD
            assert not any(isinstance(message, Delta) and message.tick > viewer.held[-1][0] for message in viewer.seen)
            assert viewer.pixels[2, 2] == 0
            # While the first tick of the trouble is under way it may say that this one is late.
            wait_until(lambda: "cannot be written to the journal" in health(served.port)[1])
            assert health(served.port)[0] == 503
            newcomer = Viewer(served.port)
            resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, limits)
            assert viewer.until(Notice).code == NoticeCode.RESUMED
            viewer.until(Delta)
            assert viewer.pixels[2, 2] == 8
            newcomer.until(Snapshot)
            viewer.serve_until(lambda: health(served.port)[0] == 200)
            tick = viewer.held[-1][0]
            served.end(signal.SIGKILL)
        found, newest = canvases(path, [tick])
        assert newest == tick
        assert (found[tick] == viewer.pixels).all()

    def test_the_end_says_what_could_not_be_written(self, tmp_path):
        path = tmp_path / "canvas.pxj"
        with Served(path) as served:
            viewer = Viewer(served.port)
            viewer.send(Place(1, 1, 7))
            viewer.until(Delta)
            resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            viewer.send(Place(2, 2, 8))
            viewer.until(Notice)
            code, errors = served.end(signal.SIGTERM)
        assert code == 1
        assert "lacks the last changes" in errors
        assert len(errors.strip().splitlines()) == 1
        found, newest = canvases(path, [1 << 32])
        assert found[1 << 32][1, 1] == 7
        assert found[1 << 32][2, 2] == 0
        assert newest == viewer.held[-1][0]
