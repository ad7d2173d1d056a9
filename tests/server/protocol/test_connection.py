"""`Connection`, both roles: streams fed three ways, any bytes at all, two ends joined in memory."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.protocol.connection import Connection, Role
from server.protocol.events import Closed, Event, Message, Pinged, Ponged, Request, Violated
from server.protocol.frames import FrameReader
from server.protocol.websocket import encode_frame, parse_head
from server.wire import Opcode
from support.feeding import (
    ACCEPTED,
    KEY,
    MASK,
    NOW,
    UPGRADE,
    Cut,
    bytewise,
    feed,
    four_bytes,
    open_client,
    open_server,
    random_cuts,
    three_ways,
    to_server,
    whole,
    with_a_tail,
)


@dataclass(frozen=True)
class Stream:
    """Frames that an open server reads, the events they are, and the frames it answers."""

    data: bytes
    events: list[Event]
    answer: bytes = b""


def fails(data: bytes, code: int, reason: str, *before: Event) -> Stream:
    close = encode_frame(Opcode.CLOSE, code.to_bytes(2, "big") + reason.encode())
    return Stream(data, [*before, Violated(code, reason)], close)


STREAMS: dict[str, Stream] = {
    "5.6 binary": Stream(to_server(2, b"ab"), [Message(b"ab", is_text=False)]),
    "5.6 text": Stream(to_server(1, "é".encode()), [Message("é".encode(), is_text=True)]),
    "5.6 empty message": Stream(to_server(2), [Message(b"", is_text=False)]),
    "5.2 16-bit length": Stream(to_server(2, bytes(126)), [Message(bytes(126), is_text=False)]),
    "5.2 many at once": Stream(to_server(2, b"a") * 3, [Message(b"a", is_text=False)] * 3),
    "5.4 fragments, a ping between": Stream(
        to_server(1, b"\xe2\x82", is_final=False) + to_server(9, b"p") + to_server(0, b"", is_final=False)
        + to_server(0, b"\xac"),
        [Pinged(b"p"), Message("€".encode(), is_text=True)],
        encode_frame(Opcode.PONG, b"p"),
    ),
    "5.4 continuation of nothing": fails(to_server(0, b"x"), 1002, "a continuation frame with no message to continue"),
    "5.4 message inside a message": fails(
        to_server(1, b"x", is_final=False) + to_server(2, b"y"), 1002,
        "a BINARY frame inside an unfinished TEXT message",
    ),
    "5.5.1 close": Stream(to_server(8, b"\x03\xe8bye"), [Closed(1000, "bye", True)], b"\x88\x02\x03\xe8"),
    "5.5.1 close without a code": Stream(to_server(8), [Closed(1005, "", True)], b"\x88\x00"),
    "5.5.1 close inside a message": Stream(
        to_server(1, b"x", is_final=False) + to_server(8, b"\x0f\xa0"), [Closed(4000, "", True)], b"\x88\x02\x0f\xa0"
    ),
    "5.5.1 data after close": Stream(
        to_server(8, b"\x03\xe8") + to_server(2, b"x"), [Closed(1000, "", True)], b"\x88\x02\x03\xe8"
    ),
    "5.5.1 close of one byte": fails(
        to_server(8, b"\x03"), 1002, "a close frame of 1 byte; it has none, or at least the 2 of its code"
    ),
    "7.4.2 close code never sent": fails(to_server(8, b"\x03\xed"), 1002, "close code 1005 must not be sent"),
    "5.5.2 pings": Stream(
        to_server(9) + to_server(9, bytes(125)), [Pinged(b""), Pinged(bytes(125))], b"\x8a\x00\x8a\x7d" + bytes(125)
    ),
    "5.5.3 pong unasked": Stream(to_server(10, b"x"), [Ponged(b"x")]),
    "5.1 not masked": fails(b"\x82\x01x", 1002, "a client's frame is not masked"),
    "5.2 reserved bit": fails(
        b"\xc2\x80" + MASK, 1002, "reserved bits 0x40 are set, but no extension was negotiated that uses them"
    ),
    "5.2 reserved opcode": fails(to_server(3), 1002, "opcode 3 is reserved"),
    "8.1 text, not UTF-8": fails(to_server(1, b"a\xff"), 1007, "text is not UTF-8"),
    "8.1 half a character": fails(to_server(1, b"\xe2\x82"), 1007, "text is not UTF-8"),
    "8.1 fault before the message's end": fails(
        to_server(1, b"\xed", is_final=False) + to_server(0, b"\xa0", is_final=False), 1007,
        "text is not UTF-8",
    ),
    "10.4 too long": fails(
        to_server(2, bytes(65537))[:14], 1009, "a message of 65537 bytes or more; at most 65536"
    ),
    "10.4 too long together": fails(
        to_server(2, bytes(300), is_final=False) + to_server(0, bytes(65300))[:8], 1009,
        "a message of 65600 bytes or more; at most 65536",
    ),
    "good, then bad": fails(
        to_server(2, b"a") + to_server(11), 1002, "opcode 11 is reserved", Message(b"a", is_text=False)
    ),
}  # fmt: skip


class TestStreams:
    @pytest.mark.parametrize("name", STREAMS)
    @three_ways
    def test_section(self, name: str, cut: Cut) -> None:
        stream, connection = STREAMS[name], open_server()
        assert feed(connection, stream.data, cut) == stream.events
        assert connection.data_to_send() == stream.answer

    @pytest.mark.parametrize("name", STREAMS)
    @three_ways
    def test_bytes_behind_the_request_are_frames(self, name: str, cut: Cut) -> None:
        stream, connection = STREAMS[name], Connection(Role.SERVER, NOW)
        events: list[Event] = []
        for piece in cut(UPGRADE + stream.data):
            for event in connection.receive_data(piece, NOW):
                events += connection.accept_upgrade() if isinstance(event, Request) else [event]
        assert events == stream.events

    def test_the_longest_message_that_is_allowed(self) -> None:
        assert feed(open_server(), to_server(2, bytes(65536))) == [Message(bytes(65536), is_text=False)]

    @three_ways
    def test_section_5_1_a_client_refuses_masked_frames(self, cut: Cut) -> None:
        connection = open_client()
        assert feed(connection, to_server(2, b"x"), cut) == [Violated(1002, "a server's frame is masked")]
        assert connection.data_to_send()[:2] == b"\x88" + bytes([0x80 | 2 + len("a server's frame is masked")])

    def test_after_a_violation_nothing_is_read_until_the_end(self) -> None:
        connection = open_server()
        feed(connection, to_server(3))
        assert connection.output_ended
        assert feed(connection, to_server(2, b"x") + to_server(8)) == []
        assert connection.receive_eof(NOW) == [Closed(1002, "opcode 3 is reserved", was_clean=False)]
        assert connection.receive_eof(NOW) == []


opcodes = st.one_of(st.sampled_from(list(Opcode)), st.integers(0, 15))
payloads = st.one_of(st.binary(max_size=8), st.text("a\xe9\u20ac\U0001f600").map(str.encode), st.lists(
    st.sampled_from([0x61, 0x03, 0xE8, 0xE2, 0x82, 0xAC, 0xED, 0xA0, 0xBF, 0xF0, 0x9F, 0xF4, 0x90, 0xFF])
).map(bytes))  # fmt: skip
"""Any bytes, text, and bytes that are nearly text or nearly a close code."""


class TestAnyBytes:
    """Any bytes, cut anywhere, give events or a protocol error and nothing else."""

    @given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
    @settings(deadline=None)
    def test_the_cuts_do_not_matter(self, data: bytes, seed: int, begins_well: bool, is_server: bool) -> None:
        if begins_well:
            data = (UPGRADE if is_server else ACCEPTED) + data
        outcomes = []
        for pieces in (whole(data), bytewise(data), random_cuts(data, seed)):
            make = self.server if is_server else self.client
            outcomes.append(self.run(make(), pieces))
        assert outcomes[0] == outcomes[1] == outcomes[2]
        assert [type(event) for event in outcomes[0][0]].count(Closed) == 1
        assert isinstance(outcomes[0][0][-1], Closed)

    @given(st.lists(st.tuples(opcodes, st.booleans(), payloads), max_size=8))
    @settings(deadline=None)
    def test_the_cuts_do_not_matter_in_frames_of_all_kinds(self, frames: list[tuple[int, bool, bytes]]) -> None:
        data = b"".join(to_server(opcode, payload, is_final=is_final) for opcode, is_final, payload in frames)
        outcomes = [self.run(open_server(), pieces) for pieces in (whole(data), bytewise(data), with_a_tail(data))]
        assert outcomes[0] == outcomes[1] == outcomes[2]

    @staticmethod
    def server() -> Connection:
        return Connection(Role.SERVER, NOW)

    @staticmethod
    def client() -> Connection:
        return Connection.client("canvas.example", "/", NOW, KEY, random_bytes=four_bytes)

    @staticmethod
    def run(connection: Connection, pieces: Iterable[bytes]) -> tuple[list[Event], bytes]:
        events: list[Event] = []
        for piece in pieces:
            for event in connection.receive_data(piece, NOW):
                events.append(event)
                if isinstance(event, Request) and event.is_upgrade:
                    events += connection.accept_upgrade()
                elif isinstance(event, Request):
                    connection.respond(404)
        return events + connection.receive_eof(NOW), connection.data_to_send()


def test_an_iterator_that_is_left_early_leaves_the_rest_to_the_next() -> None:
    """Also while the iterator that was left is still held: what it gave is not given again."""
    reader = FrameReader(is_masked=True, message_bytes_max=100)
    reader.feed(b"".join(to_server(Opcode.BINARY, bytes([number])) for number in range(4)) + b"\x82")
    left = [next(reader.read()) for _ in range(2)]
    held = reader.read()
    assert [unit.payload for unit in [*left, next(held), *reader.read()]] == [b"\0", b"\1", b"\2", b"\3"]
    assert reader.buffered_bytes == 1 and next(held, None) is None


class TestFrameBoundary:
    """When the compiled fast path may take the stream over."""

    def test_open_and_nothing_half_read(self) -> None:
        connection = Connection(Role.SERVER, NOW)
        assert not connection.at_frame_boundary
        feed(connection, UPGRADE)
        assert not connection.at_frame_boundary
        connection.accept_upgrade()
        assert connection.at_frame_boundary

    def test_not_within_a_frame_or_a_message(self) -> None:
        connection = open_server()
        frame = to_server(2, b"abc")
        for piece in bytewise(frame[:-1]):
            connection.receive_data(piece, NOW)
            assert not connection.at_frame_boundary
        connection.receive_data(frame[-1:], NOW)
        assert connection.at_frame_boundary
        feed(connection, to_server(2, b"a", is_final=False))
        assert not connection.at_frame_boundary
        feed(connection, to_server(9))
        assert not connection.at_frame_boundary
        feed(connection, to_server(0, b"b"))
        assert connection.at_frame_boundary

    def test_not_when_closing(self) -> None:
        connection = open_server()
        connection.close()
        assert not connection.at_frame_boundary


class TestTwoEnds:
    """Our client and our server, joined in memory."""

    @given(st.lists(st.one_of(st.binary(max_size=300), st.text(max_size=40)), max_size=6), st.integers(0, 2**32 - 1))
    @settings(deadline=None)
    def test_what_one_sends_the_other_gets(self, said: list[bytes | str], seed: int) -> None:
        server, client = open_server(), open_client()
        for sender, receiver in ((server, client), (client, server)):
            for each in said:
                sender.send_text(each) if isinstance(each, str) else sender.send_binary(each)
            events: list[Event] = []
            for piece in random_cuts(sender.data_to_send(), seed):
                events += receiver.receive_data(piece, NOW)
            assert events == [
                Message(each.encode(), is_text=True) if isinstance(each, str) else Message(each, is_text=False)
                for each in said
            ]

    def test_every_client_frame_has_its_own_mask(self) -> None:
        client = Connection.client("a", "/", NOW, KEY)
        client.receive_data(ACCEPTED, NOW)
        client.data_to_send()
        keys = set()
        for _ in range(8):
            client.send_binary(b"x")
            head = parse_head(client.data_to_send())
            assert head is not None
            keys.add(head.mask_key)
        assert len(keys) > 1

    def test_16_mib_if_allowed(self) -> None:
        connection = Connection(Role.SERVER, NOW)
        feed(connection, UPGRADE)
        connection.accept_upgrade(message_bytes_max=2**24)
        frame = to_server(2, bytes(2**24))
        events: list[Event] = []
        for start in range(0, len(frame), 2**18):
            events += connection.receive_data(frame[start : start + 2**18], NOW)
        assert events == [Message(bytes(2**24), is_text=False)]
