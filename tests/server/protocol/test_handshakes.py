"""How a `Connection` opens and closes: handshakes of both roles, refusals, and timeouts."""

import pytest

from server.protocol.connection import CLOSE_NS, HANDSHAKE_NS, Connection, Role
from server.protocol.events import Closed, Message, Refused, Request, Violated
from server.protocol.websocket import LocalError, encode_frame
from support.feeding import (
    ACCEPTED,
    KEY,
    MASK,
    NOW,
    UPGRADE,
    Cut,
    feed,
    open_client,
    open_server,
    three_ways,
    to_server,
)


class TestOpening:
    @three_ways
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
            (b"Version: 13", b"Version: 8", 426, "Sec-WebSocket-Version is 8; only 13 is supported"),
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
    @three_ways
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

    @three_ways
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
    @three_ways
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

    def test_messages_before_their_close_are_answered_before_ours(self) -> None:
        connection = open_server()
        events = feed(connection, to_server(2, b"a") + to_server(8, b"\x03\xe8"))
        assert events == [Message(b"a", is_text=False), Closed(1000, "", was_clean=True)]
        assert connection.can_send
        assert not connection.is_open
        assert connection.output_ended
        connection.send_binary(b"answer")
        assert connection.data_to_send() == b"\x82\x06answer" + b"\x88\x02\x03\xe8"
        assert not connection.can_send
        assert connection.data_to_send() == b""
        assert connection.receive_eof(NOW) == []

    def test_messages_before_a_fault_are_answered_before_our_close(self) -> None:
        connection = open_server()
        feed(connection, to_server(2, b"a") + to_server(3))
        connection.send_binary(b"answer")
        assert connection.data_to_send().startswith(b"\x82\x06answer\x88")
        with pytest.raises(LocalError, match="ENDING"):
            connection.send_binary(b"too late")

    def test_a_peer_that_ended_its_side_still_gets_our_close(self) -> None:
        connection = open_server()
        feed(connection, to_server(3))
        connection.receive_eof(NOW)
        assert connection.data_to_send().startswith(b"\x88")

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

    def test_the_deadline_of_a_close_counts_from_the_next_time_given(self) -> None:
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
