"""A recording's reader: figures and canvases come back as they were written, and a damaged file is reported."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plots.history import SAMPLE
from server.journal.store import DeltaCompressor, TickEntry
from server.kernels import layout
from server.protocol.blocks import Block, apply_blocks, changed_cells, decode_blocks, encode_block
from server.protocol.messages import read_body
from server.protocol.websocket import ProtocolViolation
from support import recorded
from support.refusal import read_all, refusal
from workbench.errors import UserError
from workbench.recording.reader import Recording
from workbench.telemetry.view import Marker

TICKS = 35
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "a.pxr"
    recorded.make(path, TICKS)
    return path


# --- Blocks as arrays ---

_tile_changes = st.dictionaries(st.integers(0, 1023), st.integers(0, 255), min_size=1, max_size=400)


@given(st.dictionaries(st.integers(0, 5), _tile_changes, max_size=4), st.booleans())
def test_blocks_as_arrays_equal_the_plain_decoder(changes: dict[int, dict[int, int]], full: bool) -> None:
    width, height = 70, 50
    body = b"".join(
        encode_block(tile, list(cells), bytes(cells.values()), bytes(1024) if full else None)
        for tile, cells in changes.items()
    )
    expected = np.full((height, width), 7, np.uint8)
    apply_blocks(expected, decode_blocks(body, len(changes)))
    pixels = np.full(width * height, 7, np.uint8)
    where, colors = changed_cells(body, len(changes), width, height)
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
            changed_cells(body, count, 64, 64)
    else:
        pixels = np.zeros(64 * 64, np.uint8)
        for cell, color in zip(*changed_cells(body, count, 64, 64), strict=True):
            pixels[cell] = color


# --- Figures ---


def test_samples_come_back_bit_for_bit(file: Path) -> None:
    with Recording.open(file) as recording:
        samples = recording.samples()
    assert samples.dtype == SAMPLE
    expected = np.array([recorded.sample_of(number) for number in range(1, TICKS + 1)])
    for name in SAMPLE.names or ():
        np.testing.assert_array_equal(samples[name], expected[name], err_msg=name)


def test_a_span_excludes_its_start_and_includes_its_end(file: Path) -> None:
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


def test_readings_come_back(file: Path) -> None:
    with Recording.open(file) as recording:
        assert recording.reading_at(recorded.time_of(1) - 1) is None
        assert recording.reading_at(recorded.time_of(7) + 1) == recorded.reading_of(7)
        assert recording.diagnoses()[-1].whole == recorded.BUSY


def test_facts_markers_and_diagnoses(file: Path) -> None:
    with Recording.open(file) as recording:
        assert recording.scenario.name == "first_light"
        assert (recording.scenario.server.width, recording.width, recording.height) == (70, 70, 50)
        assert recording.machine["cores"] == 2
        assert recording.summary is None
        assert recording.duration_s == pytest.approx(TICKS / 10)
        assert recording.markers() == (Marker(recorded.time_of(2), "knob", "rate limit 60 > 30"),)
        found = [(row.time_ns, row.bottleneck) for row in recording.diagnoses()]
    assert found == [(recorded.time_of(1), "none"), (recorded.time_of(3), "apply")]


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
    painted, compressor = recorded.Painted(70, 50), DeltaCompressor(70, 50)
    pixels = np.zeros(70 * 50, np.uint8)
    for _ in range(12):
        tick, time_ns, pixel_count, tile_count, encoding, blocks, _ = painted.paint(changes)
        entry = TickEntry(tick, time_ns, pixel_count, tile_count, encoding, blocks)
        short = compressor.compress(entry)
        assert len(short.blocks) <= len(blocks)
        where, colors = changed_cells(
            read_body("blocks", short.encoding, short.blocks, 1 << 20), short.tile_count, 70, 50
        )
        pixels[where] = colors
        assert (pixels.reshape(50, 70) == painted.pixels).all()


def test_pixels_that_keep_their_colour_are_left_out() -> None:
    compressor = DeltaCompressor(64, 64)
    first = encode_block(0, list(range(500)), bytes([9]) * 500)
    second = encode_block(0, list(range(500)), bytes([9]) * 499 + b"\x01")
    compressor.compress(TickEntry(1, 1, 500, 1, 0, first))
    short = compressor.compress(TickEntry(2, 2, 500, 1, 0, second))
    where, colors = changed_cells(read_body("blocks", short.encoding, short.blocks, 4096), short.tile_count, 64, 64)
    assert (where.tolist(), colors.tolist()) == ([499 // 32 * 64 + 499 % 32], [1])


# --- Files that are not whole, or not ours ---


def test_foreign_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.pxr"
    assert "no file" in refusal(path)
    path.write_bytes(b"")
    assert "is empty" in refusal(path)
    path.write_bytes(b"\x89PNG" + bytes(400))
    assert "is no SQLite file" in refusal(path)
    path.write_bytes(b"SQLite format 3\x00")
    assert "ends after 16 bytes" in refusal(path)
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE t (a)")
    assert "no recording" in refusal(path)


def test_a_schema_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.pxr"
    recorded.make(path, 1)
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE ticks", b"CREATE TAB\xccE ticks"))
    assert "is damaged: a text in it is not UTF-8" in refusal(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("PRAGMA user_version = 4", "newer version"),
        ("UPDATE meta SET value = 'journal' WHERE key = 'kind'", "server's journal"),
        ("DELETE FROM meta WHERE key = 'width'", "lacks its width"),
        ("UPDATE meta SET value = '0' WHERE key = 'height'", "its height is not what was written"),
        ("DELETE FROM meta WHERE key = 'checks'", "its facts have no checksums"),
        ("UPDATE meta SET value = '{' WHERE key = 'checks'", "is damaged"),
        ("DROP TABLE samples", "it has no table samples"),
        ("UPDATE ticks SET time_ns = time_ns + 1 WHERE tick = 20", "tick 20 is not what was written"),
        ("UPDATE ticks SET blocks = substr(blocks, 2) WHERE tick = 3", "tick 3 is not what was written"),
        ("UPDATE samples SET admitted_per_s = 'many'", "row 1 of samples is not what was written"),
        ("UPDATE samples SET admitted_per_s = admitted_per_s + 1 WHERE number = 7", "row 7 of samples"),
        ("UPDATE samples SET latency_ms_p99 = NULL WHERE number = 7", "row 7 of samples"),
        ("UPDATE samples SET latency_counts = NULL WHERE number = 7", "row 7 of samples"),
        ("UPDATE samples SET time_ns = time_ns + 1 WHERE number = 35", "row 35 of samples"),
        ("UPDATE samples SET crc = crc + 1 WHERE number = 9", "row 9 of samples"),
        ("DELETE FROM samples WHERE number = 9", "some are missing"),
        ("UPDATE stage_samples SET depth = depth + 1 WHERE number = 5 AND stage = 'admit'", "row 5 of stage_samples"),
        ("DELETE FROM stage_samples WHERE number = 5 AND stage = 'admit'", "of the stage admit some are missing"),
        ("UPDATE hostile_samples SET sent_bytes = 1 WHERE number = 5 AND kind = 'churn'", "row 5 of hostile_samples"),
        ("DELETE FROM hostile_samples WHERE number = 5 AND kind = 'churn'", "misbehave by churn some are missing"),
        ("UPDATE tick_log SET encode_ns = 3 WHERE tick = 4", "row 4 of tick_log"),
        ("UPDATE readings SET connection_count = 1 WHERE number = 35", "row 35 of readings"),
        ("UPDATE markers SET text = 'rate limit 60 > 31'", "of markers is not what was written"),
        ("UPDATE diagnoses SET sentence = '95 % busy' WHERE number = 3", "row 3 of diagnoses"),
        ("ALTER TABLE samples RENAME COLUMN shed_per_s TO shad_per_s", "row 1 of samples"),
        ("ALTER TABLE tick_log RENAME COLUMN crc TO crd", "the rows of tick_log have no checksums"),
        ("UPDATE meta SET value = 'x = ' WHERE key = 'scenario'", "its scenario is not what was written"),
    ],
)
def test_damage_inside_is_reported(tmp_path: Path, change: str, words: str) -> None:
    path = tmp_path / "a.pxr"
    recorded.make(path, TICKS)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(change)
    assert words in refusal(path)


def test_a_truncated_file_is_reported(tmp_path: Path, file: Path) -> None:
    whole = file.read_bytes()
    path = tmp_path / "a.pxr"
    for size in (50, 100, 5000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "is damaged: it ends after" in refusal(path), size


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bits_are_reported_or_leave_the_canvas_intact(tmp_path: Path, file: Path, data: st.DataObject) -> None:
    expected = read_all(file)[0]
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.pxr"
    path.write_bytes(content)
    try:
        found = read_all(path)[0]
    except UserError as error:
        assert "\n" not in str(error)
    else:
        # A row that a flipped page no longer shows cannot be missed; what is shown is right.
        with Recording.open(path) as recording:
            rows = len(list(recording.frames()))
        assert found == expected or rows < TICKS
