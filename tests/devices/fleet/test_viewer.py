"""Viewers that share states: each equals its own naive decode, for any messages in any order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.kernels.layout import BRANCHES, FRAMES_MAX
from devices.kernels.regions import apply_blocks
from server.ipc.page import Page, fleet_sections
from server.protocol.blocks import Block, encode_block, tile_colors
from server.protocol.messages import Delta, Notice, Pong, Snapshot, Throttled, decode_server_message
from server.protocol.websocket import ProtocolViolation
from server.wire import DELTA, ServerOp, tile_shape

WIDTH, HEIGHT = 45, 70
VIEWERS = 6


def watching(count=VIEWERS, width=WIDTH, height=HEIGHT):
    return Fleet(FleetConfig(connections=count), width, height, 1, Page.create(fleet_sections()))


def random_blocks(random, width=WIDTH, height=HEIGHT):
    """Blocks of all kinds: few changes make sparse ones, many bitmaps, all of them full ones."""
    across, down = tile_shape(width, height)
    tiles = np.sort(random.choice(across * down, random.integers(0, across * down + 1), replace=False))
    blocks = []
    for tile in tiles:
        count = int(random.choice([1, 7, 60, 400, 900, 1024]))
        offsets = tuple(int(o) for o in np.sort(random.choice(1024, count, replace=False)))
        blocks.append(Block(int(tile), offsets, random.integers(0, 5, count, dtype=np.uint8).tobytes()))
    return tuple(blocks)


def snapshot(pixels, tick=1, compress=False):
    return Snapshot(tick, 0, 0, pixels.shape[1], pixels.shape[0], pixels.tobytes()).encode(compress=compress)


class NaiveViewer:
    def __init__(self):
        self.pixels = None

    def receive(self, payload):
        message = decode_server_message(payload)
        if isinstance(message, Snapshot):
            self.pixels = np.frombuffer(message.pixels, np.uint8).reshape(message.height, message.width).copy()
        elif isinstance(message, Delta):
            message.apply_to(self.pixels)


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_mixed_streams_equal_a_decode_for_each(seed):
    random = np.random.default_rng(seed)
    fleet = watching()
    naive = [NaiveViewer() for _ in range(VIEWERS)]

    def give(d, payload):
        fleet.receive(d, payload, 0)
        naive[d].receive(payload)

    first = snapshot(random.integers(0, 5, (HEIGHT, WIDTH), dtype=np.uint8))
    for d in range(VIEWERS):
        give(d, first)
    for tick in range(2, 12):
        shared = Delta(tick, random_blocks(random)).encode(compress=bool(random.integers(2)))
        for d in random.permutation(VIEWERS):
            kind = random.integers(8)
            if kind == 0:
                give(d, Delta(tick, random_blocks(random)).encode())  # Conflated: one that it alone receives.
            elif kind == 1:
                give(d, snapshot(random.integers(0, 5, (HEIGHT, WIDTH), dtype=np.uint8), tick, compress=True))
            elif kind > 2:
                give(d, shared)
    for d, viewer in enumerate(naive):
        assert (fleet.viewers.canvas(d) == viewer.pixels).all()
    holders = fleet.arrays.states["holders"]
    assert holders.sum() == VIEWERS
    expected = naive[0].pixels
    wrong = sum((viewer.pixels != expected).any() for viewer in naive)
    assert fleet.viewers.check(expected) == (VIEWERS, wrong)


def cut(blocks, corner, region, width):
    """The blocks that touch a region, as a server would send them."""
    across = tile_shape(width, 1)[0]
    corners = {block.tile: (block.tile % across * 32, block.tile // across * 32) for block in blocks}
    return tuple(
        block
        for block in blocks
        if corner[0] <= corners[block.tile][0] < corner[0] + region[1]
        and corner[1] <= corners[block.tile][1] < corner[1] + region[0]
    )


@given(st.integers(0, 2**32), st.sampled_from([(150, 130), (64, 64), (33, 200), (10, 12)]))
@settings(deadline=None, max_examples=60)
def test_viewers_of_regions_equal_a_decode_for_each(seed, size):
    width, height = size
    count, random = 40, np.random.default_rng(seed)
    config = FleetConfig(connections=count, region="around")
    fleet = Fleet(config, width, height, 1, Page.create(fleet_sections()))
    canvas = random.integers(0, 5, (height, width), dtype=np.uint8)
    history = [canvas.copy()]
    asked = [fleet.subscribe(d) for d in range(count)]
    groups = len({(a.x, a.y) for a in asked})
    seen = np.zeros(count, int)
    for d, region in enumerate(asked):
        pixels = canvas[region.y : region.y + region.height, region.x : region.x + region.width]
        answer = Snapshot(0, region.x, region.y, region.width, region.height, pixels.tobytes())
        fleet.receive(d, answer.encode(compress=bool(random.integers(2))), 0)
    for tick in range(1, 12):
        blocks = random_blocks(random, width, height)
        Delta(tick, blocks).apply_to(canvas)
        history.append(canvas.copy())
        for d in random.permutation(count):
            region = asked[d]
            if seen[d] == tick - 1 and random.integers(6):
                seen[d] = tick
                part = cut(blocks, (region.x, region.y), (region.height, region.width), width)
                if part:
                    fleet.receive(d, Delta(tick, part).encode(compress=not random.integers(5)), 0)
    wrong = 0
    for d, region in enumerate(asked):
        rows, columns = slice(region.y, region.y + region.height), slice(region.x, region.x + region.width)
        shown = fleet.viewers.canvas(d)
        assert shown is None or (shown == history[seen[d]][rows, columns]).all()
        wrong += shown is not None and (shown != canvas[rows, columns]).any()
    checked = sum(fleet.viewers.canvas(d) is not None for d in range(count))
    assert fleet.viewers.check(canvas) == (checked, wrong)
    assert checked == count or len(fleet.arrays.states) // groups == 8
    assert fleet.arrays.states["holders"].sum() == count


def test_blocks_of_a_region_that_cannot_be_read_are_refused():
    fleet = Fleet(FleetConfig(connections=1, region="around"), 64, 64, 1, Page.create(fleet_sections()))
    fleet.receive(0, Snapshot(0, 0, 0, 64, 64, bytes(4096)).encode(), 0)
    for payload in (DELTA.pack(ServerOp.DELTA, 0, 1, 1), DELTA.pack(ServerOp.DELTA, 1, 1, 1) + b"x", b"\x82\x00"):
        with pytest.raises(ProtocolViolation):
            fleet.receive(0, payload, 0)


@given(st.integers(0, 2**32), st.integers(1, 100), st.integers(1, 100))
@settings(deadline=None, max_examples=60)
def test_compiled_blocks_equal_the_plain_decoder(seed, width, height):
    random = np.random.default_rng(seed)
    before = random.integers(0, 5, (height, width), dtype=np.uint8)
    delta = Delta(1, random_blocks(random, width, height))
    naive, compiled = before.copy(), before.copy()
    delta.apply_to(naive)
    body = np.frombuffer(bytearray(delta.encode()[DELTA.size :]), np.uint8)
    changed = apply_blocks(compiled, before, body, len(delta.blocks))
    assert (compiled == naive).all()
    assert np.count_nonzero(naive != before) <= changed <= sum(len(block.offsets) for block in delta.blocks)


@given(st.binary(max_size=400), st.integers(0, 5))
@settings(deadline=None, max_examples=300)
def test_any_blocks_are_accepted_or_refused_like_the_plain_decoder(body, count):
    plain, compiled = (np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(2))
    payload = DELTA.pack(ServerOp.DELTA, 0, count, 1) + body
    try:
        decode_server_message(payload).apply_to(plain)
    except ProtocolViolation:
        plain = None
    changed = apply_blocks(compiled, compiled.copy(), np.frombuffer(bytearray(body), np.uint8), count)
    assert (changed >= 0) == (plain is not None)
    if plain is not None:
        assert (compiled == plain).all()


def test_full_blocks_count_what_they_change():
    fleet = watching(1, 40, 40)
    pixels = np.zeros((40, 40), np.uint8)
    fleet.receive(0, snapshot(pixels), 0)
    pixels[3, :5] = 9
    block = encode_block(0, range(1024), tile_colors(pixels, 0), tile_colors(pixels, 0))
    fleet.receive(0, DELTA.pack(ServerOp.DELTA, 0, 1, 2) + block, 0)
    assert fleet.arrays.counters["delta_pixel_count"][0] == 5
    assert (fleet.viewers.canvas(0) == pixels).all()


def test_the_same_frames_are_decoded_once():
    fleet = watching(50)
    taught = []
    learn_transition = fleet.viewers.learn_transition
    fleet.viewers.learn_transition = lambda d, payload: (taught.append(d), learn_transition(d, payload))
    random = np.random.default_rng(1)
    frames = [snapshot(np.zeros((HEIGHT, WIDTH), np.uint8))]
    frames += [Delta(tick, random_blocks(random)).encode(compress=True) for tick in range(2, 6)]
    for frame in frames:
        for d in range(50):
            fleet.receive(d, frame, 0)
    assert len(taught) == len(frames)
    assert fleet.arrays.counters["snapshot_count"][0] == fleet.arrays.counters["subscriber_count"][0] == 50
    assert fleet.arrays.counters["delta_count"][0] == 200


def test_viewers_that_diverge_share_a_state_again():
    fleet = watching(2)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for d in range(2):
        fleet.receive(d, snapshot(pixels), 0)
    one, two = Block(0, (5,), b"\x03"), Block(1, (6,), b"\x04")
    fleet.receive(0, Delta(2, (one,)).encode(), 0)
    assert fleet.viewers.check(pixels) == (2, 1)
    fleet.receive(0, Delta(3, (two,)).encode(), 0)
    fleet.receive(1, Delta(3, (one, two)).encode(), 0)  # Conflated: both changes in one.
    states = fleet.arrays.devices["state"]
    assert states[0] == states[1] != 0


def test_memory_is_bounded():
    fleet = watching(2, 8, 8)
    fleet.viewers._states_max = 5
    naive = [NaiveViewer(), NaiveViewer()]
    for tick in range(1, FRAMES_MAX + 50):
        payload = snapshot(np.full((8, 8), tick % 251, np.uint8), tick)
        for d in {0, tick % 2}:
            fleet.receive(d, payload, 0)
            naive[d].receive(payload)
        assert len(fleet.viewers._state_of) <= 4
    for d in range(2):
        assert (fleet.viewers.canvas(d) == naive[d].pixels).all()


def test_a_viewer_without_a_state_is_not_checked():
    fleet = watching(3, 8, 8)
    fleet.viewers._states_max = 3  # Two canvases beside none.
    for d in range(3):
        fleet.receive(d, snapshot(np.full((8, 8), d + 1, np.uint8)), 0)
    assert fleet.viewers.check(np.full((8, 8), 1, np.uint8)) == (2, 1)
    fleet.receive(2, Delta(2, (Block(0, (0,), b"\x09"),)).encode(), 0)
    assert fleet.viewers.canvas(2) is None
    fleet.receive(2, snapshot(np.full((8, 8), 1, np.uint8), 3), 0)
    assert fleet.viewers.check(np.full((8, 8), 1, np.uint8)) == (3, 1)


def test_more_branches_than_are_kept():
    fleet = watching(1)
    blank, marked = np.zeros((HEIGHT, WIDTH), np.uint8), np.ones((HEIGHT, WIDTH), np.uint8)
    for i in range(3 * BRANCHES):
        fleet.receive(0, snapshot(blank), 0)
        marked[0, 0] = i + 2
        fleet.receive(0, snapshot(marked, 2), 0)
        assert (fleet.viewers.canvas(0) == marked).all()


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\x00", b"\x80" + bytes(16), b"\x86", b"\x81\x00", b"\x82\x00\x00", b"\x85", Pong(1, 1).encode()[:-1],
        Throttled(9, 0, 1).encode(), Throttled(1, 0, 1).encode() + b"\x00",
        snapshot(np.zeros((HEIGHT, WIDTH + 1), np.uint8)), snapshot(np.zeros((4, 4), np.uint8))[:-1],
        DELTA.pack(ServerOp.DELTA, 1, 1, 1) + b"no zlib",
        DELTA.pack(ServerOp.DELTA, 2, 0, 1), DELTA.pack(ServerOp.DELTA, 0, 1, 1) + b"\xff\xff\x00\x00",
    ],
)  # fmt: skip
def test_a_violation_is_refused_and_changes_nothing(payload):
    fleet = watching(1)
    pixels = np.full((HEIGHT, WIDTH), 3, np.uint8)
    fleet.receive(0, snapshot(pixels), 0)
    with pytest.raises(ProtocolViolation):
        fleet.receive(0, payload, 0)
    assert (fleet.viewers.canvas(0) == pixels).all()


def test_throttled_counts_new_drops_for_its_reason():
    fleet = watching(1)
    for reason, dropped in ((1, 4), (1, 9), (2, 12), (3, 13), (1, 13)):
        fleet.receive(0, Throttled(reason, 10, dropped).encode(), 0)
    counters = fleet.arrays.counters[0]
    assert (counters["throttled_count"], counters["shed_count"], counters["out_of_bounds_count"]) == (9, 3, 1)


def test_a_notice_is_ignored():
    fleet = watching(1)
    fleet.receive(0, Notice(1, "hello").encode(), 0)
    assert fleet.arrays.counters["protocol_error_count"][0] == 0
