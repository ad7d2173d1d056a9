"""A served server under brakes: painters who write more than it takes, and how full its queues are. What tests share.

All waiting here is for a condition, never for a time.
"""

import contextlib
import os
import socket
import threading

import msgspec
import numpy as np

from server.config import Brake, Brakes
from server.protocol.messages import PLACE_ITEM_DTYPE
from server.system.clock import now_ns
from server.wire import PLACE_MANY
from support.serving import PATIENCE_S

HARD = Brake(item_us=500.0)
"""Two thousand items a second: what a test sends is not served before the brake is released."""


def wait_until(condition):
    """The server goes on meanwhile; no test waits for a time."""
    deadline_ns = now_ns() + PATIENCE_S * 1_000_000_000
    while not condition():
        assert now_ns() < deadline_ns, "what is waited for does not come"
        os.sched_yield()


def single_frames(column, count):
    """`count` masked PLACE frames that paint a column of the canvas again and again; returns them and what is left."""
    colors, rows = np.arange(count) * 7 % 251, np.arange(count) % 45
    frames = np.zeros((count, 12), np.uint8)
    frames[:, 0], frames[:, 1], frames[:, 6], frames[:, 7] = 0x82, 0x86, 1, colors
    frames[:, 8], frames[:, 10] = column, rows
    frames[:, 2:6] = (0x5A, 0xC3, 0x0F, 0x99)
    frames[:, 6:10] ^= frames[:, 2:6]
    frames[:, 10:12] ^= frames[:, 2:4]
    return frames.tobytes(), colors[-45:][np.argsort(rows[-45:])]


def many_frames(column, count):
    """The same in PLACE_MANY of 256, which reads cut anywhere: then the slow path takes them."""
    items = np.zeros(count, PLACE_ITEM_DTYPE)
    items["x"], items["y"], items["color"] = column, np.arange(count) % 45, np.arange(count) * 7 % 251
    head = b"\x82\xfe" + (4 + 5 * 256).to_bytes(2, "big") + bytes(4)
    parts = (items[start : start + 256].tobytes() for start in range(0, count, 256))
    left = items[-45:]
    return b"".join(head + PLACE_MANY.pack(2, 0, 256) + part for part in parts), left["color"][np.argsort(left["y"])]


class Painters:
    """Clients who write more than a braked server takes, each in a thread, and what they leave on the canvas."""

    def __init__(self, serving, clients, count, frames=single_frames):
        self.serving, self.sent_count = serving, clients * count
        self.streams = [frames(index % 70, count) for index in range(clients)]
        self.clients = [serving.client() for _ in range(clients)]
        self.threads = [
            threading.Thread(target=self._paint, args=(client, stream), daemon=True)
            for client, (stream, _) in zip(self.clients, self.streams, strict=True)
        ]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            with contextlib.suppress(OSError):  # The server may have ended it.
                client.socket.shutdown(socket.SHUT_RDWR)
        for client, thread in zip(self.clients, self.threads, strict=True):
            thread.join(PATIENCE_S)
            client.socket.close()

    @staticmethod
    def _paint(client, stream):
        with contextlib.suppress(ConnectionError):  # Either end may stop in the middle; `finish` counts what came.
            client.send_raw(stream)

    def finish(self):
        """All is sent and applied, in order; the ledger has said so at each tick."""
        for thread in self.threads:
            thread.join(PATIENCE_S)
        wait_until(lambda: self.serving.counted("applied_count") >= self.sent_count)
        assert self.serving.counted("received_count") == self.serving.counted("applied_count") == self.sent_count
        assert self.serving.telemetry["server"]["ledger_gap"][0] == 0
        for index, (_, left) in enumerate(self.streams[:70]):
            if index + 70 >= len(self.streams):
                assert (self.serving.pixels[:, index] == left).all()


def stage_of(serving, stage):
    return serving.telemetry["stages"][0, stage]


def fills(serving, stage, share=0.97):
    """Whether the queue in front of a stage is as full as it may be."""
    row = stage_of(serving, stage)
    return row["depth"] >= share * row["depth_max"]


def release_brakes(serving):
    serving.server.adjust(msgspec.structs.replace(serving.config, brakes=Brakes()))
