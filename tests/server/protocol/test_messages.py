"""Canvas messages and tile blocks: their exact bytes, their way back, and what is refused with which words."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.protocol.blocks import Block, decode_blocks, encode_block, encode_blocks, tile_colors
from server.protocol.messages import (
    PLACE_ITEM_DTYPE,
    Delta,
    Hello,
    Notice,
    Ping,
    Place,
    PlaceMany,
    Pong,
    Snapshot,
    Subscribe,
    Throttled,
    decode_client_message,
    decode_server_message,
)
from server.protocol.websocket import ProtocolViolation
from server.wire import MESSAGE_BYTES_MAX, TILE_PIXELS, TILE_SIDE, BlockKind, DropReason, Encoding, tile_shape

u8, u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))

client_messages = st.one_of(
    st.builds(Place, u16, u16, u8),
    st.builds(PlaceMany, st.lists(st.tuples(u16, u16, u8), min_size=1, max_size=20).map(tuple)),
    st.builds(Subscribe, u8, u16, u16, u16, u16, u16),
    st.builds(Ping, u64),
)


@st.composite
def blocks(draw: st.DrawFn, tile_max: int = 2**16 - 1) -> Block:
    count = draw(st.sampled_from([0, 1, 2, 63, 64, 255, 256, 895, 896, 897, TILE_PIXELS]))
    seed = draw(u32)
    chosen = np.random.default_rng(seed).permutation(TILE_PIXELS)[:count]
    colors = np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8).tobytes()
    return Block(draw(st.integers(0, tile_max)), tuple(sorted(chosen.tolist())), colors)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    width, height = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    pixels = draw(st.binary(min_size=width * height, max_size=width * height))
    return Snapshot(draw(u32), draw(u16), draw(u16), width, height, pixels)


server_messages = st.one_of(
    st.builds(Hello, u16, u16, u8, u16, u16, u16, u32, u8),
    snapshots(),
    st.builds(Delta, u32, st.lists(blocks(), max_size=3).map(tuple)),
    st.builds(Throttled, u8, u16, u32),
    st.builds(Pong, u64, u32),
    st.builds(Notice, u8, st.text(max_size=40)),
)


class TestBytesOnTheWire:
    """Written out by hand from the protocol's page: an independent program would send these."""

    @pytest.mark.parametrize(
        ("message", "wire"),
        [
            (Place(x=0x0102, y=0x0304, color=7), "01 07 0201 0403"),
            (PlaceMany(((1, 2, 3), (4, 5, 6))), "02 00 0200 0100 0200 03 0400 0500 06"),
            (Subscribe(1, 2, 3, 4, 5, 6), "03 01 0200 0300 0400 0500 0600"),
            (Subscribe(), "03 00 0000 0000 0000 0000 0000"),
            (Ping(0x0807060504030201), "04 000000 0102030405060708"),
        ],
    )
    def test_client(self, message: Place | PlaceMany | Subscribe | Ping, wire: str) -> None:
        assert message.encode() == bytes.fromhex(wire)
        assert decode_client_message(bytes.fromhex(wire)) == message

    @pytest.mark.parametrize(
        ("message", "wire"),
        [
            (Hello(256, 128, 32, 100, 60, 120, 9), "80 01 0001 8000 20 6400 3c00 7800 09000000"),
            (Snapshot(5, 1, 2, 2, 1, b"\x07\x08"), "81 00 05000000 0100 0200 0200 0100 0708"),
            (Delta(5, (Block(3, (0, 33), b"\x07\x08"),)), "82 00 0100 05000000 0300 00 02 0000 07 2100 08"),
            (Throttled(DropReason.OUT_OF_BOUNDS, 1000, 5), "83 03 e803 05000000"),
            (Pong(1, 2), "84 000000 0100000000000000 02000000"),
            (Notice(1, "é"), "85 01 c3a9"),
        ],
    )
    def test_server(self, message: Hello | Snapshot | Delta | Throttled | Pong | Notice, wire: str) -> None:
        assert message.encode() == bytes.fromhex(wire)
        assert decode_server_message(bytes.fromhex(wire)) == message

    def test_items_as_an_array_are_the_same_bytes(self) -> None:
        items = np.array([(1, 2, 3), (4, 5, 6)], PLACE_ITEM_DTYPE)
        assert PlaceMany(((1, 2, 3), (4, 5, 6))).encode()[4:] == items.tobytes()

    def test_the_longest_message_of_a_client_fits(self) -> None:
        message = PlaceMany(((1, 2, 3),) * 4096)
        assert len(message.encode()) == 4 + 5 * 4096 <= MESSAGE_BYTES_MAX
        assert decode_client_message(message.encode()) == message


class TestRoundTrip:
    @given(client_messages)
    @settings(deadline=None)
    def test_client(self, message: Place | PlaceMany | Subscribe | Ping) -> None:
        assert decode_client_message(message.encode()) == message

    @given(server_messages)
    @settings(deadline=None)
    def test_server(self, message: Hello | Snapshot | Delta | Throttled | Pong | Notice) -> None:
        assert decode_server_message(message.encode()) == message

    @given(st.one_of(snapshots(), st.builds(Delta, u32, st.lists(blocks(), max_size=3).map(tuple))))
    @settings(deadline=None)
    def test_compressed(self, message: Snapshot | Delta) -> None:
        wire = message.encode(compress=True)
        assert decode_server_message(wire) == message
        assert len(wire) <= len(message.encode())

    def test_compression_is_kept_only_when_shorter(self) -> None:
        noise = np.random.default_rng(1).integers(0, 256, 400, dtype=np.uint8).tobytes()
        assert Snapshot(0, 0, 0, 20, 20, bytes(400)).encode(compress=True)[1] == Encoding.ZLIB
        assert Snapshot(0, 0, 0, 20, 20, noise).encode(compress=True)[1] == Encoding.RAW

    @given(st.binary(max_size=64))
    @settings(deadline=None)
    def test_any_bytes_give_a_message_or_a_violation(self, payload: bytes) -> None:
        for decode in (decode_client_message, decode_server_message):
            try:
                message = decode(payload)
            except ProtocolViolation as violation:
                assert violation.close_code == 1002
                assert violation.reason
            else:
                assert decode(message.encode()) == message


class TestRefusals:
    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            (b"", "an empty message; its first byte must be an op"),
            (b"\x00", "op 0x00 is unknown; a client's ops are 0x01 to 0x04"),
            (b"\x80" + bytes(16), "op 0x80 is unknown; a client's ops are 0x01 to 0x04"),
            (b"\x01" + bytes(4), "PLACE has 5 bytes; it must have 6"),
            (b"\x01" + bytes(6), "PLACE has 7 bytes; it must have 6"),
            (b"\x02\x00\x01", "PLACE_MANY has 3 bytes; it must have 4 or more"),
            (b"\x02\x00\x00\x00", "PLACE_MANY has count 0; it must be 1 to 4096"),
            (b"\x02\x00\x01\x10" + bytes(5 * 4097), "PLACE_MANY has count 4097; it must be 1 to 4096"),
            (b"\x02\x00\x02\x00" + bytes(5), "PLACE_MANY of 2 has 9 bytes; it must have 14"),
            (b"\x02\x00\x01\x00" + bytes(6), "PLACE_MANY of 1 has 10 bytes; it must have 9"),
            (b"\x03" + bytes(10), "SUBSCRIBE has 11 bytes; it must have 12"),
            (b"\x04" + bytes(12), "PING has 13 bytes; it must have 12"),
        ],
    )
    def test_client(self, payload: bytes, reason: str) -> None:
        with pytest.raises(ProtocolViolation) as caught:
            decode_client_message(payload)
        assert (caught.value.close_code, caught.value.reason) == (1002, reason)

    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            (b"", "an empty message"),
            (b"\x01" + bytes(5), "op 0x01 is unknown; a server's ops are 0x80 to 0x85"),
            (b"\x80", "HELLO has 1 bytes; it must have 17"),
            (b"\x81" + bytes(12), "SNAPSHOT has 13 bytes; it must have 14 or more"),
            (b"\x81\x02" + bytes(12), "SNAPSHOT has encoding 2"),
            (struct.pack("<BBIHHHH", 0x81, 0, 0, 0, 0, 2, 2) + bytes(3), "2 x 2 SNAPSHOT has 3 bytes; it must have 4"),
            (struct.pack("<BBIHHHH", 0x81, 1, 0, 0, 0, 2, 2) + b"junk", "SNAPSHOT holds a broken zlib stream"),
            (struct.pack("<BBHI", 0x82, 0, 1, 0), "DELTA ends at block 0 of 1"),
            (struct.pack("<BBHI", 0x82, 0, 0, 0) + b"x", "DELTA has 1 bytes after its 0 blocks"),
            (struct.pack("<BBHIHB", 0x82, 0, 1, 0, 5, 3), "block kind 3 of tile 5 is unknown"),
            (struct.pack("<BBHIHBB", 0x82, 0, 1, 0, 5, 0, 1), "block of tile 5 is 3 bytes short"),
            (struct.pack("<BBHIHBBHB", 0x82, 0, 1, 0, 5, 0, 1, 1024, 1), "offset 1024 in the block of tile 5"),
            (struct.pack("<BBHIHB", 0x82, 0, 1, 0, 5, 1) + b"\xff" * 128, "block of tile 5 is 1024 bytes short"),
            (struct.pack("<BBHIHB", 0x82, 0, 1, 0, 5, 2) + bytes(1023), "block of tile 5 is 1 bytes short"),
            (b"\x83" + bytes(8), "THROTTLED has 9 bytes; it must have 8"),
            (b"\x84", "PONG has 1 bytes; it must have 16"),
            (b"\x85", "NOTICE has 1 bytes; it must have 2 or more"),
            (b"\x85\x00\xff", "NOTICE is not UTF-8"),
        ],
    )
    def test_server(self, payload: bytes, reason: str) -> None:
        with pytest.raises(ProtocolViolation) as caught:
            decode_server_message(payload)
        assert caught.value.close_code == 1002
        assert reason in caught.value.reason

    @pytest.mark.parametrize("tail", [zlib.compress(bytes(5)), zlib.compress(bytes(10_000_000))])
    def test_a_zlib_stream_never_inflates_beyond_its_picture(self, tail: bytes) -> None:
        payload = struct.pack("<BBIHHHH", 0x81, 1, 0, 0, 0, 2, 2) + tail
        with pytest.raises(ProtocolViolation, match="inflates to more than the 4 bytes"):
            decode_server_message(payload)

    @pytest.mark.parametrize("tail", [zlib.compress(bytes(4))[:-1], zlib.compress(bytes(4)) + b"x"])
    def test_a_zlib_stream_is_one_and_whole(self, tail: bytes) -> None:
        payload = struct.pack("<BBIHHHH", 0x81, 1, 0, 0, 0, 2, 2) + tail
        with pytest.raises(ProtocolViolation, match="one whole zlib stream"):
            decode_server_message(payload)

    def test_reserved_bytes_are_not_looked_at(self) -> None:
        assert decode_client_message(b"\x04abc" + bytes(8)) == Ping(0)


class TestBlocks:
    @pytest.mark.parametrize(
        ("count", "kind"),
        [(1, 0), (63, 0), (64, 1), (256, 1), (896, 1), (897, 2), (TILE_PIXELS, 2)],
    )
    def test_the_smallest_kind_is_taken(self, count: int, kind: BlockKind) -> None:
        block = encode_block(9, range(count), bytes(count), bytes(TILE_PIXELS))
        sizes = [1 + 3 * count if count <= 255 else 9999, 128 + count, TILE_PIXELS]
        assert block[2] == kind
        assert len(block) == 3 + min(sizes) == 3 + sizes[kind]

    def test_the_full_kind_needs_the_whole_tile(self) -> None:
        assert encode_block(9, range(1000), bytes(1000))[2] == BlockKind.BITMAP

    def test_a_later_color_wins(self) -> None:
        wire = encode_block(0, (5, 3, 5), b"\x01\x02\x09")
        assert decode_blocks(wire, 1) == [Block(0, (3, 5), b"\x02\x09")]

    @given(st.lists(blocks(), max_size=4))
    @settings(deadline=None)
    def test_round_trip(self, given_blocks: list[Block]) -> None:
        assert decode_blocks(encode_blocks(given_blocks), len(given_blocks)) == given_blocks

    @given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1), st.floats(0, 1))
    @settings(deadline=None)
    def test_a_delta_makes_the_old_canvas_the_new(self, width: int, height: int, seed: int, share: float) -> None:
        random = np.random.default_rng(seed)
        old = random.integers(0, 256, (height, width), dtype=np.uint8)
        changed = random.random((height, width)) < share
        new = np.where(changed, random.integers(0, 256, (height, width), dtype=np.uint8), old)
        across, down = tile_shape(width, height)
        wire = b""
        for tile in range(across * down):
            mask = np.frombuffer(tile_colors(changed.view(np.uint8), tile), np.uint8)
            offsets = np.flatnonzero(mask).tolist()
            colors = tile_colors(new, tile)
            wire += encode_block(tile, offsets, bytes(colors[offset] for offset in offsets), colors)
        Delta(1, tuple(decode_blocks(wire, across * down))).apply_to(old)
        assert np.array_equal(old, new)

    def test_offsets_count_32_columns_a_row_and_cells_beyond_the_edge_are_dropped(self) -> None:
        pixels = np.zeros((34, 40), np.uint8)
        Delta(1, (Block(1, (TILE_SIDE * 2 + 7, 8), b"\x05\x06"), Block(3, (TILE_SIDE,), b"\x07"))).apply_to(pixels)
        assert np.argwhere(pixels).tolist() == [[2, 39], [33, 32]]
        assert (pixels[2, 39], pixels[33, 32]) == (5, 7)

    def test_a_tile_beyond_the_canvas_is_a_violation(self) -> None:
        with pytest.raises(ProtocolViolation, match="tile 4 of a canvas that has 4"):
            Delta(1, (Block(4, (0,), b"\x01"),)).apply_to(np.zeros((33, 33), np.uint8))
