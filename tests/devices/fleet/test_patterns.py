"""What the fleet paints, and the frames of its placements."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.streams import StreamReader

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.fleet.patterns import Life, draw_ridges
from devices.kernels import frames, patterns
from devices.kernels.layout import Phase
from devices.kernels.patterns import owned_pixel, paint
from devices.kernels.scene import DAY_SECONDS, scene_color
from devices.kernels.schedule import batch_time
from server.ipc.page import Page, fleet_sections
from server.palette import CUBE_FIRST, HEAT_COUNT, HEAT_FIRST, PALETTE, WHITE
from server.protocol.messages import Ping, Place, decode_client_message

PATTERNS = ["sensor_field", "image", "life", "hotspot", "noise"]
SECOND_NS = 1_000_000_000


def fleet_of(pattern, connections=30, width=40, height=24, frames_per_write=5, **more):
    config = FleetConfig(
        connections=connections, rate_per_s=20, frames_per_write=frames_per_write, pattern=pattern, **more
    )
    fleet = Fleet(config, width, height, 3, Page.create(fleet_sections()))
    fleet.arrays.devices["phase"] = Phase.FAST
    fleet.start(SECOND_NS)
    return fleet


def painted(fleet, device, sequence, seconds):
    arrays = fleet.arrays
    time_ns = SECOND_NS + int(seconds * SECOND_NS)
    return paint(arrays.settings[0], arrays.board, arrays.ridges, device, sequence, time_ns)


def picture(fleet, seconds, rounds):
    """The canvas after every device has painted `rounds` times around `seconds`."""
    canvas = np.zeros((fleet.height, fleet.width), np.uint8)
    for sequence in range(rounds):
        for device in range(fleet.config.connections):
            x, y, color = painted(fleet, device, sequence, seconds)
            canvas[y, x] = color
    return canvas


@given(
    st.sampled_from(PATTERNS), st.integers(1, 50), st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1),
    st.floats(0, 1e5),
)  # fmt: skip
@settings(deadline=None, max_examples=150)
def test_paint_stays_on_canvas_and_palette(pattern, connections, width, height, sequence, seconds):
    fleet = fleet_of(pattern, connections, width, height)
    x, y, color = painted(fleet, connections - 1, sequence, seconds)
    assert 0 <= x < width and 0 <= y < height and 0 <= color <= 255


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_devices_own_every_pixel(connections, width, height):
    fleet = fleet_of("noise", connections, width, height)
    rounds = -(-width * height // connections)
    settings_ = fleet.arrays.settings[0]
    owned = [{owned_pixel(settings_, d, k) for k in range(rounds)} for d in range(connections)]
    assert set.union(*owned) == set(range(width * height))
    if connections <= width * height:
        assert sum(map(len, owned)) == width * height


@pytest.mark.parametrize(
    ("pattern", "first", "last"),
    [("sensor_field", HEAT_FIRST, HEAT_FIRST + HEAT_COUNT - 1), ("image", CUBE_FIRST, WHITE - 1)],
)
def test_picture_fills_the_canvas_with_its_ramp(pattern, first, last):
    canvas = picture(fleet_of(pattern), 12.0, 32)
    assert canvas.min() >= first and canvas.max() <= last
    assert len(np.unique(canvas)) > 12


def test_heat_is_smooth_and_travels():
    before, after = (picture(fleet_of("sensor_field", 960), seconds, 1).astype(int) for seconds in (4.0, 9.0))
    assert np.abs(np.diff(before, axis=1)).max() <= 8
    assert np.abs(np.diff(before, axis=0)).max() <= 8
    assert np.count_nonzero(before != after) > before.size / 2


def test_scene_darkens_at_night():
    ridges = draw_ridges(64)

    def light(seconds):
        colors = [scene_color(ridges, x, y, 64, 48, seconds) for y in range(48) for x in range(64)]
        return PALETTE[np.array(colors)].mean()

    assert light(0.03 * DAY_SECONDS) > 2.5 * light(0.53 * DAY_SECONDS)


def test_hotspot_is_hot_and_moves():
    fleet = fleet_of("hotspot", 400, 100, 80)

    def centre(seconds):
        points = np.array([painted(fleet, d, 0, seconds)[:2] for d in range(400)], float)
        assert points.std(axis=0).max() < 8
        return points.mean(axis=0)

    assert np.linalg.norm(centre(1.0) - centre(9.0)) > 15


def test_noise_reaches_everywhere():
    fleet = fleet_of("noise", 500, 10, 10)
    assert len({painted(fleet, d, k, 0.0)[:2] for d in range(500) for k in range(4)}) == 100


def naive_generation(ages):
    alive = ages > 0
    around = sum(np.roll(alive, (dy, dx), (0, 1)).astype(int) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)
    living = (around == 3) | (alive & (around == 2))
    return np.where(living, np.where(alive, ages + 1, 1), np.where(alive, -1, ages - 1))


@given(st.integers(3, 12), st.integers(3, 12), st.integers(0, 2**32))
@settings(deadline=None)
def test_life_equals_its_naive_twin(width, height, seed):
    ages = np.where(np.random.default_rng(seed).random((height, width)) < 0.4, 1, -5).astype(np.int16)
    following = np.empty_like(ages)
    for _ in range(3):
        living = patterns.next_generation(ages, following)
        expected = naive_generation(ages)
        assert (following == expected).all() and living == (expected > 0).sum()
        ages, following = following, ages


def test_life_advances_with_time():
    torus = Life(32, 24, 1, 1e6)
    first = torus.board.copy()
    torus.advance(torus.generation_ns - 1)
    assert (torus.board == first).all()
    torus.advance(torus.generation_ns)
    assert torus.generation == 1 and (torus.board != first).any()


def test_a_generation_lasts_until_it_is_painted():
    assert Life(100, 100, 1, 10_000.0).generation_ns == pytest.approx(1.5 * SECOND_NS)


def read_frame(data):
    """The first frame of `data`, by the `websockets` library's parser, and the bytes behind it."""
    reader = StreamReader()
    reader.feed_data(data)
    parser = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as stopped:
        next(parser)
    return stopped.value.value, bytes(reader.buffer)


def batch_of(fleet, device):
    """A batch painted one by one, and its frames as an independent parser reads them."""
    count = int(fleet.arrays.devices["batch_count"][device])
    seconds = [(batch_time(fleet.arrays, device, i) - SECOND_NS) / SECOND_NS for i in range(count)]
    expected = [painted(fleet, device, i, seconds[i]) for i in range(count)]
    words = np.zeros(4 + frames.WRITE_BYTES_MAX // 4, np.uint32)
    size = frames.put_batch(fleet.arrays, device, words, 4)
    rest = words.view(np.uint8)[16 : 16 + size].tobytes()
    seen = []
    while rest:
        frame, rest = read_frame(rest)
        assert frame.fin and frame.opcode == 2
        message = decode_client_message(bytes(frame.data))
        assert isinstance(message, Place)
        seen.append((message.x, message.y, message.color))
    return expected, seen


@pytest.mark.parametrize(("width", "height"), [(256, 200), (70, 40), (20, 31), (5, 100)])
def test_devices_that_watch_their_surroundings_paint_there(width, height):
    fleet = fleet_of("sensor_field", 50, width, height, region="around")
    for device in range(50):
        asked = fleet.subscribe(device)
        assert min(33, width) <= asked.width <= 64 and min(33, height) <= asked.height <= 64
        painted_pixels = {painted(fleet, device, k, 0.0)[:2] for k in range(961)}
        assert len(painted_pixels) >= 16 * min(width, 16)
        assert all(0 <= x - asked.x < asked.width and 0 <= y - asked.y < asked.height for x, y in painted_pixels)


@pytest.mark.parametrize("arrivals", ["periodic", "poisson"])
def test_frames_equal_those_an_independent_parser_reads(arrivals):
    fleet = fleet_of("image", 9, frames_per_write=7, arrivals=arrivals)
    for device in range(9):
        expected, seen = batch_of(fleet, device)
        assert seen == expected
    assert set(fleet.arrays.devices["sequence"]) == {7}


@pytest.mark.parametrize("frames_per_write", [1, 2, 60])
def test_a_sensor_of_one_pixel_paints_the_field(frames_per_write):
    fleet = fleet_of("sensor_field", 2000, frames_per_write=frames_per_write)
    for device in range(0, 2000, 37):
        expected, seen = batch_of(fleet, device)
        assert [place[:2] for place in seen] == [place[:2] for place in expected]
        assert all(abs(got[2] - want[2]) <= 1 for got, want in zip(seen, expected, strict=True))
        assert (seen[0], seen[-1]) == (expected[0], expected[-1])


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_ping_frame(nonce, mask):
    buffer = np.zeros(24, np.uint8)
    frames.put_ping(buffer, 2, np.uint64(nonce), np.uint64(mask))
    frame, rest = read_frame(buffer[2:].tobytes())
    assert decode_client_message(bytes(frame.data)) == Ping(nonce)
    assert rest == bytes(4)


def test_masks_differ():
    fleet = fleet_of("noise", 1, frames_per_write=64)
    words = np.zeros(frames.WRITE_BYTES_MAX // 4, np.uint32)
    size = frames.put_batch(fleet.arrays, 0, words, 0)
    assert len(np.unique(words.view(np.uint8)[:size].reshape(-1, 12)[:, 2:6], axis=0)) == 64
