"""A recording's reader: figures and canvases come back as they were written, and a file that is not whole is told."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.journal.condenser import Condenser
from server.journal.store import TickEntry
from server.kernels import layout
from server.protocol.block_arrays import told_cells
from server.protocol.blocks import Block, apply_blocks, decode_blocks, encode_block
from server.protocol.body import read_body
from server.protocol.websocket import ProtocolViolation
from tests import recorded
from workbench.recording.reader import Recording
from workbench.view import Marker

TICKS = 35


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "a.pxr"
    recorded.make(path, TICKS)
    return path


# --- Blocks as arrays ---

_tile_changes = st.dictionaries(st.integers(0, 1023), st.integers(0, 255), min_size=1, max_size=400)


@given(st.dictionaries(st.integers(0, 5), _tile_changes, max_size=4), st.booleans())
def test_blocks_as_arrays_tell_what_the_plain_decoder_tells(changes: dict[int, dict[int, int]], full: bool) -> None:
    width, height = 70, 50
    body = b"".join(
        encode_block(tile, list(cells), bytes(cells.values()), bytes(1024) if full else None)
        for tile, cells in changes.items()
    )
    expected = np.full((height, width), 7, np.uint8)
    apply_blocks(expected, decode_blocks(body, len(changes)))
    pixels = np.full(width * height, 7, np.uint8)
    where, colors = told_cells(body, len(changes), width, height)
    pixels[where] = colors
    assert (pixels.reshape(height, width) == expected).all()


@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes_are_cells_or_a_violation_as_for_the_plain_decoder(body: bytes, count: int) -> None:
    expected = np.zeros((64, 64), np.uint8)
    try:
        blocks: list[Block] | None = decode_blocks(body, count)
        apply_blocks(expected, blocks or [])
    except ProtocolViolation:
        blocks = None
    if blocks is None:
        with pytest.raises(ProtocolViolation):
            told_cells(body, count, 64, 64)
    else:
        pixels = np.zeros(64 * 64, np.uint8)
        for cell, color in zip(*told_cells(body, count, 64, 64), strict=True):
            pixels[cell] = color


# --- Figures ---


def test_samples_come_back_bit_for_bit(file: Path) -> None:
    with Recording.open(file) as recording:
        samples = recording.samples()
    assert samples.dtype == layout.SAMPLE
    expected = np.array([recorded.sample_of(number) for number in range(1, TICKS + 1)])
    for name in layout.SAMPLE.names or ():
        np.testing.assert_array_equal(samples[name], expected[name], err_msg=name)


def test_a_span_leaves_its_beginning_out_and_holds_its_end(file: Path) -> None:
    with Recording.open(file) as recording:
        span = (recorded.time_of(3), recorded.time_of(7))
        numbers = [recorded.time_of(number) for number in (4, 5, 6, 7)]
        assert recording.samples(*span)["time_ns"].tolist() == numbers
        assert recording.tick_log(*span)["tick"].tolist() == [4, 5, 6, 7]
        assert sorted(set(recording.stage_samples(*span)["time_ns"].tolist())) == numbers
        assert [frame.tick for frame in recording.frames(*span)] == [4, 5, 6, 7]
        assert len(recording.samples(None, recorded.time_of(0))) == 0
        assert len(recording.samples(recorded.time_of(TICKS))) == 0


def test_stages_and_ticks_come_back(file: Path) -> None:
    with Recording.open(file) as recording:
        stages, ticks = recording.stage_samples(), recording.tick_log()
    viewers = stages[(stages["stage"] == "viewers") & (stages["number"] == 2)][0]
    assert viewers["throughput_per_s"] == 10
    assert viewers["utilisation_ratio"] == 0.25
    assert np.isnan(viewers["service_us"])
    assert stages[(stages["stage"] == "admit") & (stages["number"] == 2)]["drops_per_s"].tolist() == [4.5]
    assert len(stages) == TICKS * (layout.STAGE_COUNT + 1)
    expected = np.concatenate([recorded.tick_of(tick) for tick in range(1, TICKS + 1)])
    for name in set(layout.TICK.names or ()) - {"encoding"}:
        np.testing.assert_array_equal(ticks[name], expected[name], err_msg=name)


def test_facts_markers_and_diagnoses(file: Path) -> None:
    with Recording.open(file) as recording:
        assert recording.scenario.name == "first_light"
        assert (recording.scenario.server.width, recording.width, recording.height) == (70, 70, 50)
        assert recording.machine["cores"] == 2
        assert recording.summary is None
        assert recording.duration_s == pytest.approx(TICKS / 10)
        assert recording.markers() == (Marker(recorded.time_of(2), "knob", "rate limit 60 > 30"),)
        told = [(row.time_ns, row.bottleneck) for row in recording.diagnoses()]
    assert told == [(recorded.time_of(1), "none"), (recorded.time_of(3), "apply")]


# --- The canvas ---


def test_the_canvas_at_any_time_in_any_order(tmp_path: Path) -> None:
    canvases = recorded.make(tmp_path / "a.pxr", TICKS)
    with Recording.open(tmp_path / "a.pxr") as recording:
        for tick in np.random.default_rng(3).permutation(TICKS + 1).tolist():
            for late_ns in (0, recorded.TICK_NS - 1):
                canvas = recording.canvas_at(recorded.time_of(tick) + late_ns)
                assert (canvas == canvases[tick]).all(), tick
        assert not recording.canvas_at(0).any()


def test_frames_lead_from_one_canvas_to_the_other(file: Path) -> None:
    with Recording.open(file) as recording:
        pixels = recording.canvas_at(recorded.time_of(5)).ravel()
        for tick, time_ns, changes in recording.frames(recorded.time_of(5), recorded.time_of(30)):
            assert (pixels[changes["pixel"]] != changes["color"]).all()
            pixels[changes["pixel"]] = changes["color"]
            assert (pixels.reshape(50, 70) == recording.canvas_at(time_ns)).all(), tick
        assert tick == 30


@pytest.mark.parametrize("changes", [1, 40, 3000])
def test_condensed_ticks_give_the_same_canvas_and_are_no_longer(changes: int) -> None:
    painted, condenser = recorded.Painted(70, 50), Condenser(70, 50)
    pixels = np.zeros(70 * 50, np.uint8)
    for _ in range(12):
        tick, time_ns, pixel_count, tile_count, encoding, blocks, _ = painted.paint(changes)
        entry = TickEntry(tick, time_ns, pixel_count, tile_count, encoding, blocks)
        short = condenser.condense(entry)
        assert len(short.blocks) <= len(blocks)
        where, colors = told_cells(read_body("blocks", short.encoding, short.blocks, 1 << 20), short.tile_count, 70, 50)
        pixels[where] = colors
        assert (pixels.reshape(50, 70) == painted.pixels).all()


def test_what_keeps_its_colour_is_left_out_of_a_recording() -> None:
    condenser = Condenser(64, 64)
    first = encode_block(0, list(range(500)), bytes([9]) * 500)
    second = encode_block(0, list(range(500)), bytes([9]) * 499 + b"\x01")
    condenser.condense(TickEntry(1, 1, 500, 1, 0, first))
    short = condenser.condense(TickEntry(2, 2, 500, 1, 0, second))
    where, colors = told_cells(read_body("blocks", short.encoding, short.blocks, 4096), short.tile_count, 64, 64)
    assert (where.tolist(), colors.tolist()) == ([499 // 32 * 64 + 499 % 32], [1])
