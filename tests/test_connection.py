"""`Connection`, both roles: streams fed three ways, two ends joined in memory, timers, and an independent peer."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.frames import Opcode as PeerOpcode
from websockets.http11 import Request as PeerRequest
from websockets.http11 import Response as PeerResponse
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from server.protocol.connection import CLOSE_NS, HANDSHAKE_NS, Connection, Role, State
from server.protocol.events import Closed, Event, Message, Opened, Pinged, Ponged, Refused, Request, Violated
from server.protocol.frames import FrameReader
from server.protocol.websocket import RSV1, LocalError, Opcode, ProtocolViolation, encode_frame, parse_head

NOW = 1_000_000_000
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x37\xfa\x21\x3d"
UPGRADE = (
    b"GET /canvas HTTP/1.1\r\nHost: canvas.example\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: other, pixelcanvas.v1\r\n\r\n"
)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def four_bytes(count: int) -> bytes:
    """In place of randomness."""
    return (MASK * count)[:count]


def to_server(opcode: int, payload: bytes = b"", *, is_final: bool = True) -> bytes:
    return encode_frame(opcode, payload, is_final=is_final, mask_key=MASK)


def open_server(**limits: int) -> Connection:
    connection = Connection(Role.SERVER, NOW, **limits)
    connection.receive_data(UPGRADE, NOW)
    connection.accept_upgrade("pixelcanvas.v1")
    connection.data_to_send()
    return connection


def open_client() -> Connection:
    connection = Connection.client("canvas.example", "/canvas", NOW, KEY, random_bytes=four_bytes)
    connection.data_to_send()
    assert connection.receive_data(ACCEPTED, NOW) == [Opened(None)]
    return connection


Cut = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> Iterable[bytes]:
    return [data]


def bytewise(data: bytes) -> Iterable[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def with_a_tail(data: bytes) -> Iterable[bytes]:
    return [data[: len(data) // 2], data[len(data) // 2 :]]


@pytest.fixture(params=[whole, bytewise, with_a_tail])
def cut(request: pytest.FixtureRequest) -> Cut:
    """The three ways to feed a stream; what comes out must not depend on it."""
    chosen: Cut = request.param
    return chosen


def feed(connection: Connection, data: bytes, cut: Cut = whole) -> list[Event]:
    events: list[Event] = []
    for piece in cut(data):
        events += connection.receive_data(piece, NOW)
    return events


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
        b"\xc2\x80" + MASK, 1002, "reserved bits 0x40 are set, but no extension was negotiated"
    ),
    "5.2 reserved opcode": fails(to_server(3), 1002, "opcode 3 is reserved"),
    "8.1 text, not UTF-8": fails(to_server(1, b"a\xff"), 1007, "text is not UTF-8: invalid start byte"),
    "8.1 half a character": fails(to_server(1, b"\xe2\x82"), 1007, "text is not UTF-8: unexpected end of data"),
    "8.1 fault before the message's end": fails(
        to_server(1, b"\xed", is_final=False) + to_server(0, b"\xa0", is_final=False), 1007,
        "text is not UTF-8: it holds a surrogate",
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
    def test_section(self, name: str, cut: Cut) -> None:
        stream, connection = STREAMS[name], open_server()
        assert feed(connection, stream.data, cut) == stream.events
        assert connection.data_to_send() == stream.answer

    @pytest.mark.parametrize("name", STREAMS)
    def test_bytes_behind_the_request_are_frames(self, name: str, cut: Cut) -> None:
        stream, connection = STREAMS[name], Connection(Role.SERVER, NOW)
        events: list[Event] = []
        for piece in cut(UPGRADE + stream.data):
            for event in connection.receive_data(piece, NOW):
                events += connection.accept_upgrade() if isinstance(event, Request) else [event]
        assert events == stream.events

    def test_the_longest_message_that_is_allowed(self) -> None:
        assert feed(open_server(), to_server(2, bytes(65536))) == [Message(bytes(65536), is_text=False)]

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

    @given(st.lists(st.tuples(st.integers(0, 15), st.booleans(), st.binary(max_size=8)), max_size=8))
    @settings(deadline=None)
    def test_nor_in_frames_of_all_kinds(self, frames: list[tuple[int, bool, bytes]]) -> None:
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


def random_cuts(data: bytes, seed: int) -> Iterable[bytes]:
    cuts = sorted(random.Random(seed).randrange(len(data) + 1) for _ in range(5))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


class TestOpening:
    def test_section_4_2_upgrade(self, cut: Cut) -> None:
        connection = Connection(Role.SERVER, NOW)
        (event,) = feed(connection, UPGRADE, cut)
        assert isinstance(event, Request)
        assert event.is_upgrade
        assert event.head.path == "/canvas"
        assert event.subprotocols == ("other", "pixelcanvas.v1")
        assert connection.accept_upgrade("pixelcanvas.v1") == []
        answer = ACCEPTED.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: pixelcanvas.v1\r\n\r\n")
        assert connection.data_to_send() == answer
        assert connection.is_open
        assert connection.next_deadline_ns() is None

    @pytest.mark.parametrize(
        ("old", "new", "status", "reason"),
        [
            (b"Connection: keep-alive, Upgrade", b"Connection: keep-alive", 400, "without 'Connection: Upgrade'"),
            (b"Version: 13", b"Version: 8", 426, "Sec-WebSocket-Version is 8; only 13 is spoken"),
            (b"Sec-WebSocket-Version: 13\r\n", b"", 426, "Sec-WebSocket-Version is missing"),
            (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", 400, "Sec-WebSocket-Key must be given once"),
            (b"dGhlIHNhbXBsZSBub25jZQ==", b"short", 400, "base64 of 16 bytes"),
            (b"GET", b"HEAD", 400, "an upgrade by HEAD"),
            (b"HTTP/1.1", b"HTTP/1.0", 400, "an upgrade by GET HTTP/1.0"),
            (b"GET", b"POST", 405, "method POST is not allowed"),
            (b"Host: canvas.example\r\n", b"", 400, "0 Host headers"),
            (b"/canvas", b"/" + b"x" * 8192, 431, "longer than the 8192 bytes"),
        ],
    )
    def test_section_4_2_1_refusals(self, old: bytes, new: bytes, status: int, reason: str, cut: Cut) -> None:
        connection = Connection(Role.SERVER, NOW)
        (event,) = feed(connection, UPGRADE.replace(old, new), cut)
        assert isinstance(event, Refused)
        assert event.status == status
        assert reason in event.reason
        answer = connection.data_to_send()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert (b"\r\nSec-WebSocket-Version: 13\r\n" in answer) == (status == 426)
        assert connection.output_ended
        assert connection.receive_eof(NOW) == [Closed(1006, event.reason, was_clean=False)]

    def test_get_is_answered_by_the_application(self, cut: Cut) -> None:
        connection = Connection(Role.SERVER, NOW)
        (event,) = feed(connection, b"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n", cut)
        assert isinstance(event, Request)
        assert not event.is_upgrade
        connection.respond(200, [("Content-Type", "text/plain")], b"body")
        assert connection.data_to_send() == (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"
        )
        assert connection.output_ended
        assert connection.receive_eof(NOW) == [Closed(1005, "", was_clean=True)]

    def test_head_gets_the_head(self) -> None:
        connection = Connection(Role.SERVER, NOW)
        feed(connection, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.respond(200, [], b"body")
        assert connection.data_to_send() == b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"

    def test_an_upgrade_may_be_refused(self) -> None:
        connection = Connection(Role.SERVER, NOW)
        feed(connection, UPGRADE)
        connection.respond(403, [], b"no")
        assert connection.data_to_send().startswith(b"HTTP/1.1 403 Forbidden\r\n")

    def test_bytes_behind_an_unanswered_request_are_bounded(self) -> None:
        connection = Connection(Role.SERVER, NOW, message_bytes_max=100)
        feed(connection, UPGRADE)
        assert feed(connection, bytes(100)) == []
        assert feed(connection, bytes(1)) == [Refused(400, "too many bytes behind a request that is not answered yet")]

    def test_section_4_1_request_of_a_client(self) -> None:
        connection = Connection.client("canvas.example", "/canvas", NOW, KEY, subprotocols=["a", "b"])
        assert connection.data_to_send() == (
            b"GET /canvas HTTP/1.1\r\nHost: canvas.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: a, b\r\n\r\n"
        )

    @pytest.mark.parametrize(
        ("old", "new", "status", "reason"),
        [
            (b"101 Switching Protocols", b"503 Service Unavailable", 503, "Service Unavailable"),
            (b"s3pP", b"S3pP", 101, "does not answer our key"),
            (b"Upgrade: websocket", b"Upgrade: h2c", 101, "does not upgrade"),
            (b"Connection: Upgrade", b"Connection: close", 101, "does not upgrade"),
            (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: c\r\n\r\n", 101, "'c', which was not offered"),
            (b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: x\r\n\r\n", 101, "an extension that was not offered"),
            (b"HTTP/1.1", b"ICY", 400, "status line"),
        ],
    )
    def test_section_4_1_answers_that_a_client_refuses(
        self, old: bytes, new: bytes, status: int, reason: str, cut: Cut
    ) -> None:
        connection = Connection.client("canvas.example", "/canvas", NOW, KEY, subprotocols=["a", "b"])
        refused, closed = feed(connection, ACCEPTED.replace(old, new), cut)
        assert isinstance(refused, Refused)
        assert refused.status == status
        assert reason in refused.reason
        assert closed == Closed(1006, refused.reason, was_clean=False)


class TestClosing:
    def test_section_7_1_2_we_begin(self) -> None:
        connection = open_server()
        connection.close(1001, "bye")
        assert connection.data_to_send() == b"\x88\x05\x03\xe9bye"
        assert not connection.is_open
        assert feed(connection, to_server(2, b"late") + to_server(9)) == []
        assert feed(connection, to_server(8, b"\x03\xe9")) == [Closed(1001, "bye", was_clean=True)]
        assert connection.data_to_send() == b""

    def test_section_7_1_1_a_client_waits_for_the_server_to_end(self) -> None:
        connection = open_client()
        assert feed(connection, b"\x88\x02\x03\xe8") == []
        assert connection.data_to_send() == encode_frame(8, b"\x03\xe8", mask_key=MASK)
        assert connection.receive_eof(NOW) == [Closed(1000, "", was_clean=True)]

    def test_both_begin_at_once(self) -> None:
        server, client = open_server(), open_client()
        server.close(1001)
        client.close(4000, "done")
        from_server, from_client = server.data_to_send(), client.data_to_send()
        assert feed(server, from_client) == [Closed(1001, "", was_clean=True)]
        assert feed(client, from_server) == []
        assert client.receive_eof(NOW) == [Closed(4000, "done", was_clean=True)]
        assert server.data_to_send() == client.data_to_send() == b""

    def test_section_7_1_5_a_stream_that_just_ends(self) -> None:
        reason = "the stream ended without a close frame"
        assert open_server().receive_eof(NOW) == [Closed(1006, reason, was_clean=False)]
        assert Connection(Role.SERVER, NOW).receive_eof(NOW) == [Closed(1006, reason, was_clean=False)]

    def test_an_end_instead_of_an_answer_is_not_clean(self) -> None:
        connection = open_server()
        connection.close(1001, "bye")
        assert connection.receive_eof(NOW) == [Closed(1001, "bye", was_clean=False)]

    def test_a_violation_after_our_close_sends_no_second_close(self) -> None:
        connection = open_server()
        connection.close(1001)
        connection.data_to_send()
        assert feed(connection, to_server(3)) == [Violated(1002, "opcode 3 is reserved")]
        assert connection.data_to_send() == b""
        assert connection.output_ended

    def test_closing_twice_is_closing_once(self) -> None:
        connection = open_server()
        connection.close(1000)
        connection.close(1001)
        assert connection.data_to_send() == b"\x88\x02\x03\xe8"

    def test_closing_before_it_is_open_answers_503(self) -> None:
        connection = Connection(Role.SERVER, NOW)
        connection.close(1001, "the server stops")
        assert connection.data_to_send().startswith(b"HTTP/1.1 503 ")
        assert connection.output_ended

    @pytest.mark.parametrize("send", ["send_binary", "send_text", "send_ping"])
    def test_sending_on_a_closing_connection_is_our_fault(self, send: str) -> None:
        connection = open_server()
        connection.close()
        with pytest.raises(LocalError, match="the connection is CLOSING"):
            getattr(connection, send)("" if send == "send_text" else b"")

    def test_other_misuse(self) -> None:
        connection = open_server()
        with pytest.raises(LocalError, match="126 bytes; at most 125"):
            connection.send_ping(bytes(126))
        with pytest.raises(LocalError, match="respond"):
            connection.respond(200)
        with pytest.raises(LocalError, match="accept_upgrade"):
            connection.accept_upgrade()
        connection = Connection(Role.SERVER, NOW)
        feed(connection, UPGRADE)
        with pytest.raises(LocalError, match="'mine' was not offered"):
            connection.accept_upgrade("mine")


class TestTimers:
    def test_a_slow_handshake_is_answered_408(self) -> None:
        connection = Connection(Role.SERVER, NOW)
        feed(connection, UPGRADE[:50])
        assert connection.next_deadline_ns() == NOW + HANDSHAKE_NS
        assert connection.on_timer(NOW + HANDSHAKE_NS - 1) == []
        end = NOW + HANDSHAKE_NS
        assert connection.on_timer(end) == [Refused(408, "the opening handshake took too long")]
        assert connection.data_to_send().startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert connection.next_deadline_ns() == end + CLOSE_NS
        (closed,) = connection.on_timer(end + CLOSE_NS)
        assert isinstance(closed, Closed)
        assert connection.next_deadline_ns() is None

    def test_a_server_that_does_not_answer_a_client(self) -> None:
        connection = Connection.client("a", "/", NOW, handshake_ns=7)
        assert connection.on_timer(NOW + 7) == [Closed(1006, "the peer did not answer in time", was_clean=False)]

    def test_a_close_that_is_not_answered_counts_from_when_we_next_hear_the_time(self) -> None:
        connection = open_server()
        connection.close(1001)
        much_later = NOW + 100 * CLOSE_NS
        deadline = connection.next_deadline_ns()
        assert deadline is not None
        assert deadline <= much_later
        assert connection.on_timer(much_later) == []
        assert connection.next_deadline_ns() == much_later + CLOSE_NS
        assert connection.on_timer(much_later + CLOSE_NS) == [Closed(1001, "", was_clean=False)]

    def test_a_peer_that_does_not_end_the_stream_after_a_violation(self) -> None:
        connection = open_server()
        feed(connection, to_server(3))
        assert connection.on_timer(NOW + CLOSE_NS) == [Closed(1002, "opcode 3 is reserved", was_clean=False)]

    def test_an_open_connection_has_no_deadline(self) -> None:
        connection = open_server()
        assert connection.on_timer(NOW + 10**15) == []
        assert connection.is_open


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


class TestExtensionRoom:
    """RFC 6455, 9: a negotiated extension may use RSV1, and no other bit."""

    def test_rsv1_when_negotiated(self) -> None:
        reader = FrameReader(is_masked=False, message_bytes_max=100, reserved_bits_allowed=RSV1)
        reader.feed(encode_frame(2, b"x", reserved_bits=RSV1))
        assert [unit.payload for unit in reader.read()] == [b"x"]
        reader.feed(encode_frame(2, b"x", reserved_bits=0x20))
        with pytest.raises(ProtocolViolation, match="reserved bits 0x20"):
            list(reader.read())


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

    def test_every_client_frame_has_a_mask_of_its_own(self) -> None:
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

    def test_16_mib_for_those_who_allow_it(self) -> None:
        connection = Connection(Role.SERVER, NOW)
        feed(connection, UPGRADE)
        connection.accept_upgrade(message_bytes_max=2**24)
        frame = to_server(2, bytes(2**24))
        events: list[Event] = []
        for start in range(0, len(frame), 2**18):
            events += connection.receive_data(frame[start : start + 2**18], NOW)
        assert events == [Message(bytes(2**24), is_text=False)]


def pass_bytes(source: Connection, target: ClientProtocol | ServerProtocol) -> None:
    """All that we have to send to the independent peer; the end too, when there is one."""
    data = source.data_to_send()
    if data:
        target.receive_data(data)
    if source.state in (State.ENDING, State.CLOSED):
        target.receive_eof()


def take_bytes(source: ClientProtocol | ServerProtocol, target: Connection) -> list[Event]:
    """All that the independent peer has to send, an empty string standing for its end."""
    events: list[Event] = []
    for data in source.data_to_send():
        events += target.receive_data(data, NOW) if data else target.receive_eof(NOW)
    return events


class TestIndependentClient:
    """Our server with the client of `websockets`."""

    def connect(self) -> tuple[ClientProtocol, Connection]:
        peer = ClientProtocol(parse_uri("ws://canvas.example/canvas"), subprotocols=["pixelcanvas.v1"])  # type: ignore[list-item]
        server = Connection(Role.SERVER, NOW)
        peer.send_request(peer.connect())
        (request,) = take_bytes(peer, server)
        assert isinstance(request, Request)
        server.accept_upgrade(request.subprotocols[0])
        pass_bytes(server, peer)
        (response,) = peer.events_received()
        assert isinstance(response, PeerResponse)
        assert peer.handshake_exc is None
        assert peer.subprotocol == "pixelcanvas.v1"
        return peer, server

    def test_messages_both_ways(self) -> None:
        peer, server = self.connect()
        peer.send_text("é".encode(), fin=False)
        peer.send_ping(b"p")
        peer.send_continuation(b"!", fin=True)
        peer.send_binary(bytes(65536))
        assert take_bytes(peer, server) == [
            Pinged(b"p"),
            Message("é!".encode(), is_text=True),
            Message(bytes(65536), is_text=False),
        ]
        server.send_text("ü")
        server.send_binary(bytes(70000))
        pass_bytes(server, peer)
        assert peer.events_received() == [
            Frame(PeerOpcode.PONG, b"p"),
            Frame(PeerOpcode.TEXT, "ü".encode()),
            Frame(PeerOpcode.BINARY, bytes(70000)),
        ]

    def test_it_closes(self) -> None:
        peer, server = self.connect()
        peer.send_close(4001, "enough")
        assert take_bytes(peer, server) == [Closed(4001, "enough", was_clean=True)]
        pass_bytes(server, peer)
        assert peer.close_code == 4001

    def test_we_close(self) -> None:
        peer, server = self.connect()
        server.close(1001, "the server stops")
        pass_bytes(server, peer)
        assert take_bytes(peer, server) == [Closed(1001, "the server stops", was_clean=True)]
        pass_bytes(server, peer)
        assert (peer.close_code, peer.close_reason) == (1001, "the server stops")

    def test_it_is_told_of_its_violation(self) -> None:
        peer, server = self.connect()
        server.receive_data(to_server(2, bytes(65537))[:14], NOW)
        pass_bytes(server, peer)
        assert (peer.close_code, peer.close_reason) == (1009, "a message of 65537 bytes or more; at most 65536")


class TestIndependentServer:
    """Our client with the server of `websockets`."""

    def connect(self) -> tuple[ServerProtocol, Connection]:
        peer = ServerProtocol(subprotocols=["pixelcanvas.v1"])  # type: ignore[list-item]
        client = Connection.client("canvas.example", "/canvas", NOW, subprotocols=["pixelcanvas.v1"])
        pass_bytes(client, peer)
        (request,) = peer.events_received()
        assert isinstance(request, PeerRequest)
        peer.send_response(peer.accept(request))
        assert take_bytes(peer, client) == [Opened("pixelcanvas.v1")]
        return peer, client

    def test_messages_both_ways(self) -> None:
        peer, client = self.connect()
        client.send_text("é")
        client.send_binary(bytes(range(256)) * 300)
        client.send_ping(b"p")
        pass_bytes(client, peer)
        assert peer.events_received() == [
            Frame(PeerOpcode.TEXT, "é".encode()),
            Frame(PeerOpcode.BINARY, bytes(range(256)) * 300),
            Frame(PeerOpcode.PING, b"p"),
        ]
        peer.send_binary(b"a", fin=False)
        peer.send_continuation(b"b", fin=True)
        assert take_bytes(peer, client) == [Ponged(b"p"), Message(b"ab", is_text=False)]

    def test_we_close(self) -> None:
        peer, client = self.connect()
        client.close(1000, "done")
        pass_bytes(client, peer)
        assert take_bytes(peer, client) == [Closed(1000, "done", was_clean=True)]
        pass_bytes(client, peer)
        assert (peer.close_code, peer.close_reason) == (1000, "done")

    def test_it_refuses(self) -> None:
        peer = ServerProtocol()
        client = Connection.client("canvas.example", "/canvas", NOW)
        pass_bytes(client, peer)
        peer.events_received()
        peer.send_response(peer.reject(503, "full"))  # type: ignore[arg-type]
        assert take_bytes(peer, client)[0] == Refused(503, "Service Unavailable")
