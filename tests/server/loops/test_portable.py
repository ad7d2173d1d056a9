"""The portable loop beyond the protocol, which `test_server` holds it to: when it serves, and its work in batches."""

import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.config import ServerConfig
from server.kernels.arrays import CONFLATIONS
from server.kernels.due_frames import begin_sweep, choose_offers, settle_offers, sweep_rest, take_arrivals
from server.kernels.encode import encode_tick
from server.kernels.layout import ARRIVAL, CARRY_BYTES, OFFER, Phase, Source
from server.loops import native
from server.loops.native import NativeLoop
from server.loops.portable import PortableLoop
from server.protocol.blocks import apply_blocks
from server.server import kind_of_loop
from support.deltas import read_delta
from support.stages import new_broadcast, new_canvas, new_loop, new_records, paint

WIDTH, HEIGHT = 70, 45
TICKS = CONFLATIONS + 4
REGIONS = [(0, 0, 3, 2), (0, 0, 1, 1), (1, 0, 3, 2), (2, 1, 3, 2)]


class TestChoice:
    def test_it_serves_when_asked_to(self):
        assert kind_of_loop(ServerConfig(loop="portable")) is PortableLoop
        assert kind_of_loop(ServerConfig(loop="native")) is NativeLoop

    def test_it_serves_where_there_is_no_epoll(self, monkeypatch):
        monkeypatch.delattr(native.select, "epoll")
        assert kind_of_loop(ServerConfig(loop="native")) is PortableLoop

    def test_it_knows_nothing_of_the_c_library(self):
        program = "import sys, server.loops.portable; print('server.kernels.libc' in sys.modules)"
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert result.stdout == "False\n"


def test_arrivals_stand_behind_what_their_connection_carried():
    loop = new_loop(new_canvas(WIDTH, HEIGHT))
    loop.carry[2, :3] = [7, 8, 9]
    loop.connections[2]["carry_bytes"] = 3
    loop.arena[CARRY_BYTES : CARRY_BYTES + 2] = [10, 11]
    loop.arena[200:204] = [1, 2, 3, 4]
    arrivals = new_records(2, ARRIVAL)
    arrivals["slot"], arrivals["start"], arrivals["end"] = [2, 1], [CARRY_BYTES, 200], [CARRY_BYTES + 2, 204]
    take_arrivals(loop, arrivals, 2)
    segments = loop.segments[: loop.queues[0]["segment_end"]]
    found = [(int(one["slot"]), loop.arena[one["start"] : one["end"]].tolist()) for one in segments]
    assert found == [(2, [7, 8, 9, 10, 11]), (1, [1, 2, 3, 4])]
    assert loop.connections[2]["carry_bytes"] == 0
    assert loop.counts[0]["received_bytes"] == 6


class Sweep:
    """Viewers with regions and cursors, and a canvas of several ticks."""

    def __init__(self, viewers, seed):
        self.canvas = new_canvas(WIDTH, HEIGHT)
        self.broadcast = new_broadcast(self.canvas)
        self.loop = new_loop(self.canvas, slots=len(viewers))
        self.loop.queues[0]["slot_end"] = len(viewers)
        self.pictures = np.zeros((TICKS + 1, HEIGHT, WIDTH), np.uint8)
        chance = np.random.default_rng(seed)
        for tick in range(1, TICKS + 1):
            for x, y, color in chance.integers(0, [WIDTH, HEIGHT, 256], (60, 3)).tolist():
                paint(self.canvas, x, y, color, tick)
            encode_tick(self.canvas, self.broadcast, tick)
            self.pictures[tick] = self.canvas.pixels.reshape(HEIGHT, WIDTH)
        self.held = [self.pictures[cursor].copy() for _, cursor in viewers]
        for slot, (tiles, cursor) in enumerate(viewers):
            row = self.loop.connections[slot]
            row["phase"], row["subscribed"], row["cursor"] = Phase.FAST, 1, cursor
            for name, value in zip(("tile_x0", "tile_y0", "tile_x1", "tile_y1"), tiles, strict=True):
                row[name] = value
        begin_sweep(self.loop, 0)

    def frame(self, offer):
        places = {
            Source.SHARED: self.broadcast.bytes,
            Source.CONFLATED: self.loop.conflated,
            Source.OWN: self.loop.scratch,
        }
        return places[int(offer["source"])][offer["start"] : offer["end"]].tobytes()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(REGIONS), st.integers(1, TICKS)), min_size=1, max_size=24),
    st.integers(1, 24),
    st.integers(0, 99),
)
def test_every_viewer_is_brought_up_to_date_once(viewers, batch, seed):
    """Whatever the batches: all frames of one are whole when it is sent, and bring what its viewer lacks."""
    sweep = Sweep(viewers, seed)
    offers = new_records(batch, OFFER)
    seen = []
    while count := choose_offers(sweep.loop, sweep.canvas, sweep.broadcast, 1, offers):
        for offer in offers[:count]:
            slot = int(offer["slot"])
            apply_blocks(sweep.held[slot], read_delta(sweep.frame(offer)).blocks)
            offer["taken"] = offer["end"] - offer["start"]
            seen.append(slot)
        settle_offers(sweep.loop, sweep.broadcast, offers, count, 1)
    assert sweep_rest(sweep.loop) == 0
    assert len(set(seen)) == len(seen)
    assert (sweep.loop.connections["cursor"] == TICKS).all()
    for (x0, y0, x1, y1), held in zip([tiles for tiles, _ in viewers], sweep.held, strict=True):
        area = np.s_[y0 * 32 : y1 * 32, x0 * 32 : x1 * 32]
        assert (held[area] == sweep.pictures[TICKS][area]).all()
    assert sweep.loop.counts[0]["delta_count"] == len(seen)


def test_viewers_of_unlike_cursors_share_a_batch():
    """However they are mixed: a frame is made once for each cursor, and kept for all that are at it."""
    sweep = Sweep([(REGIONS[0], TICKS - 1 - slot % CONFLATIONS) for slot in range(5 * CONFLATIONS)], 1)
    offers = new_records(5 * CONFLATIONS, OFFER)
    assert choose_offers(sweep.loop, sweep.canvas, sweep.broadcast, 1, offers) == len(offers)
    frames = {(int(offer["source"]), int(offer["start"])) for offer in offers}
    assert len(frames) == CONFLATIONS
