"""Decode: the compiled fast path and what it hands over, together, against the plain protocol alone."""

from itertools import pairwise

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.kernels.decode import DONE, FULL, UNKNOWN, decode, decode_payload, waiting_bytes
from server.kernels.layout import CARRY_BYTES, Phase, Reason
from server.protocol.messages import Ping, Place, PlaceMany, Subscribe, decode_client_message
from server.protocol.websocket import ProtocolViolation, apply_mask, encode_frame
from server.wire import Opcode
from support.feeding import open_server
from support.naive import Reader, values_of
from support.stages import ALL, new_canvas, new_loop, take_messages, waiting_messages

SLOT = 2
MANY_MAX = 40
U16, U8 = st.integers(0, 65535), st.integers(0, 255)

places = st.builds(Place, U16, U16, U8)
many = st.lists(st.tuples(U16, U16, U8), min_size=1, max_size=MANY_MAX).map(lambda some: PlaceMany(tuple(some)))
subscribes = st.builds(Subscribe, U8, U16, U16, U16, U16, U16)
pings = st.builds(Ping, st.integers(0, 2**64 - 1))
messages = places | many | subscribes | pings
masks = st.binary(min_size=4, max_size=4)


@st.composite
def frames(draw):
    """Mostly what devices send; now and then what the fast path must not take, right or wrong."""
    mask = draw(masks)
    kind = draw(
        st.sampled_from(["known"] * 6 + ["fragments", "control", "text", "unknown", "raw", "bare", "long form"])
    )
    payload = draw(messages).encode()
    if kind == "known":
        return encode_frame(Opcode.BINARY, payload, mask_key=mask)
    if kind == "fragments":
        cut = draw(st.integers(0, len(payload)))
        first = encode_frame(Opcode.BINARY, payload[:cut], is_final=False, mask_key=mask)
        ping = encode_frame(Opcode.PING, b"between", mask_key=mask) if draw(st.booleans()) else b""
        return first + ping + encode_frame(Opcode.CONTINUATION, payload[cut:], mask_key=mask)
    if kind == "control":
        return encode_frame(draw(st.sampled_from([9, 10])), draw(st.binary(max_size=125)), mask_key=mask)
    if kind == "text":
        return encode_frame(Opcode.TEXT, b"hello", mask_key=mask)
    if kind == "unknown":
        return encode_frame(Opcode.BINARY, draw(st.binary(max_size=300)), mask_key=mask)
    if kind == "bare":
        return encode_frame(Opcode.BINARY, payload)
    if kind == "long form":
        return b"\x82\xfe" + len(payload).to_bytes(2, "big") + mask + apply_mask(payload, mask)
    return draw(st.binary(max_size=40))


def decode_in_pieces(pieces):
    """What the stages behind it get and what the peer is answered, when fast and slow path take turns at a stream."""
    loop = new_loop(new_canvas(), messages=MANY_MAX + 2, requests=3)
    reader = Reader(open_server(), SLOT)
    row = loop.connections[SLOT]
    row["phase"] = Phase.FAST

    def queue(payload):
        buffer = np.frombuffer(payload, np.uint8)
        assert decode_payload(loop, SLOT, buffer, 0, len(payload), 0) == DONE
        reader.found += take_messages(loop)

    for piece in pieces:
        _put_segment(loop, row, piece)
        while loop.queues[0]["segment_end"]:
            decode(loop, ALL)
            reader.found += take_messages(loop)
        for slot, start, end, reason in loop.handovers[: int(loop.queues[0]["handover_count"])].tolist():
            assert (slot, reason) == (SLOT, Reason.BYTES)
            assert row["phase"] == Phase.SLOW
            reader.feed(loop.arena[start:end].tobytes(), queue)
            row["phase"] = Phase.FAST if reader.connection.at_frame_boundary else Phase.SLOW
        loop.queues[0]["handover_count"] = 0
    return reader, row, loop


def _put_segment(loop, row, piece):
    """As the loop reads: the connection's carry, and what came behind it."""
    carry = loop.carry[SLOT, : int(row["carry_bytes"])].tobytes()
    data = carry + piece
    loop.arena[: len(data)] = np.frombuffer(data, np.uint8)
    row["carry_bytes"] = 0
    loop.segments[0]["slot"], loop.segments[0]["start"], loop.segments[0]["end"] = SLOT, 0, len(data)
    loop.queues[0]["segment_end"] = 1
    assert waiting_bytes(loop) == len(data)


def by_the_reference(stream):
    reader = Reader(open_server(), SLOT)
    reader.feed(stream)
    return reader


def cut(stream, places_to_cut):
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places_to_cut)})
    return [stream[start:end] for start, end in pairwise(edges)]


@given(st.lists(frames(), max_size=8).map(b"".join), st.lists(st.integers(0, 2000), max_size=6))
@settings(deadline=None, max_examples=300)
@example(encode_frame(2, Place(1, 2, 3).encode(), mask_key=b"abcd") * 3, list(range(40)))
@example(encode_frame(2, PlaceMany(((1, 2, 3),) * 30).encode(), mask_key=b"abcd") * 2, [75, 160, 200])
@example(b"\x82\x80abcd", [])
def test_both_paths_together_are_the_reference(stream, places_to_cut):
    expected = by_the_reference(stream)
    reader, _, _ = decode_in_pieces(cut(stream, places_to_cut))
    assert reader.found == expected.found
    if not expected.is_refused:
        assert reader.answered == expected.answered
        assert reader.connection.state == expected.connection.state


@given(st.binary(max_size=120), st.lists(st.integers(0, 120), max_size=4))
@settings(deadline=None)
def test_any_bytes_are_the_reference(stream, places_to_cut):
    expected = by_the_reference(stream)
    reader, _, _ = decode_in_pieces(cut(stream, places_to_cut))
    assert reader.found == expected.found
    assert expected.is_refused or reader.answered == expected.answered


@given(st.lists(messages, min_size=1, max_size=6), masks)
@settings(deadline=None)
def test_whole_known_frames_stay_on_the_fast_path(some, mask):
    stream = b"".join(encode_frame(Opcode.BINARY, message.encode(), mask_key=mask) for message in some)
    reader, row, loop = decode_in_pieces([stream])
    assert reader.found == [value for message in some for value in values_of(SLOT, message)]
    assert row["phase"] == Phase.FAST
    assert loop.counts[0]["handover_count"] == 0


@given(st.integers(1, CARRY_BYTES))
@settings(deadline=None)
def test_a_short_rest_is_carried(size):
    """An unfinished frame waits for its end without any Python; a longer one than the carry goes the slow way."""
    frame = encode_frame(Opcode.BINARY, PlaceMany(((7, 8, 9),) * 30).encode(), mask_key=b"\x01\x02\x03\x04")
    reader, row, loop = decode_in_pieces([frame[:size]])
    assert (row["carry_bytes"], row["phase"], reader.found) == (size, Phase.FAST, [])
    assert loop.carry[SLOT, :size].tobytes() == frame[:size]
    _, row, _ = decode_in_pieces([frame[: CARRY_BYTES + 1]])
    assert (row["carry_bytes"], row["phase"]) == (0, Phase.SLOW)


@given(st.binary(min_size=1, max_size=250) | messages.map(lambda message: message.encode()), masks)
@settings(deadline=None)
@example(b"\x02\x00\x00\x00", bytes(4))
@example(b"\x02\x00\x01\x10" + bytes(5 * 4097), bytes(4))
@example(b"\x02\x00", bytes(4))
def test_a_payload_is_known_exactly_when_the_reference_knows_it(payload, mask):
    loop = new_loop(new_canvas())
    masked = bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))
    buffer = np.frombuffer(b"?" + masked, np.uint8)
    result = decode_payload(loop, SLOT, buffer, 1, len(payload), int.from_bytes(mask, "little"))
    try:
        expected = values_of(SLOT, decode_client_message(payload))
    except ProtocolViolation:
        assert result == UNKNOWN
        expected = []
    else:
        assert result == DONE
    assert waiting_messages(loop) == expected


def test_the_longest_message_is_taken_whole():
    placements = tuple((index, 65535 - index, index & 255) for index in range(4096))
    payload = np.frombuffer(PlaceMany(placements).encode(), np.uint8)
    loop = new_loop(new_canvas(), messages=4096)
    assert decode_payload(loop, SLOT, payload, 0, len(payload), 0) == DONE
    assert waiting_messages(loop) == [("place", SLOT, *placement) for placement in placements]
    assert loop.connections[SLOT]["received_count"] == loop.counts[0]["received_count"] == 4096


def test_placements_alone_are_counted_as_received():
    loop = new_loop(new_canvas())
    for message in (Place(x=1, y=2, color=3), Ping(nonce=4), Subscribe(0, 0, 0, 0), Place(x=9, y=9, color=9)):
        payload = np.frombuffer(message.encode(), np.uint8)
        assert decode_payload(loop, SLOT, payload, 0, len(payload), 0) == DONE
    assert loop.connections[SLOT]["received_count"] == loop.counts[0]["received_count"] == 2


@given(places | many | subscribes | pings, st.integers(0, MANY_MAX))
@settings(deadline=None)
def test_a_full_queue_changes_nothing(message, taken):
    """What does not fit whole is left for later, whole."""
    payload = np.frombuffer(message.encode(), np.uint8)
    needed = len(values_of(SLOT, message))
    loop = new_loop(new_canvas(), messages=max(taken, 1), requests=1)
    loop.queues[0]["message_end"] = max(taken, 1)
    before = loop.queues[0].copy()
    assert decode_payload(loop, SLOT, payload, 0, len(payload), 0) == FULL
    assert loop.queues[0].tobytes() == before.tobytes()
    loop.queues[0]["message_end"] = 0
    fits = needed <= len(loop.messages)
    assert decode_payload(loop, SLOT, payload, 0, len(payload), 0) == (DONE if fits else FULL)


def test_requests_have_a_limit_of_their_own():
    loop = new_loop(new_canvas(), requests=1)
    payload = np.frombuffer(Ping(5).encode(), np.uint8)
    assert decode_payload(loop, SLOT, payload, 0, 12, 0) == DONE
    assert decode_payload(loop, SLOT, payload, 0, 12, 0) == FULL
    assert take_messages(loop) == [("ping", SLOT, 5)]
