"""permessage-deflate: what is agreed on, what is sent, what is taken, and what it may cost."""

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.protocol.connection import MESSAGE_BYTES_A_CALL, Connection, Role
from server.protocol.deflate import (
    SHRINK_BYTES_MIN,
    Agreement,
    Deflater,
    Extension,
    Inflater,
    answer_offers,
    parse_extensions,
    read_answer,
)
from server.protocol.events import Event, Message, Opened, Refused, Request
from server.protocol.http import HttpFault
from server.protocol.messages import Place, PlaceMany, Snapshot, Subscribe
from server.protocol.websocket import ProtocolViolation, encode_frame
from server.wire import PLACEMENTS_MAX, RSV1
from support.feeding import KEY, NOW, UPGRADE, feed, four_bytes, random_cuts
from support.serving import Client, Serving, masked

EXTENSIONS = "Sec-WebSocket-Extensions"
OFFER = "permessage-deflate; client_max_window_bits"
LIMIT_BYTES = 80 * 1024
"""What config.py says that a connection may hold for compression."""


def masked_deflated(payload: bytes, stream: "zlib._Compress | None" = None) -> bytes:
    stream = stream or zlib.compressobj(wbits=-12)
    data = (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return encode_frame(2, data, mask_key=b"abcd", reserved_bits=RSV1)


def two_ends(offers_deflate: bool = True, deflates: bool = True) -> tuple[Connection, Connection]:
    """A server and a client that have opened."""
    client = Connection.client("a", "/", NOW, KEY, offers_deflate=offers_deflate, random_bytes=four_bytes)
    server = Connection(Role.SERVER, NOW)
    (request,) = server.receive_data(client.data_to_send(), NOW)
    assert isinstance(request, Request)
    server.accept_upgrade(deflates=deflates)
    assert client.receive_data(server.data_to_send(), NOW) == [Opened(None)]
    return server, client


class TestHeader:
    """RFC 6455, 9.1."""

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("foo", [Extension("foo")]),
            ("foo, bar; baz=2", [Extension("foo"), Extension("bar", (("baz", "2"),))]),
            (' foo ; a ;b = "c" ,, bar', [Extension("foo", (("a", None), ("b", "c"))), Extension("bar")]),
            (r'foo; a="x\y"', [Extension("foo", (("a", "xy"),))]),
        ],
    )
    def test_read(self, text: str, found: list[Extension]) -> None:
        assert parse_extensions([text]) == found
        assert parse_extensions([text, "more"]) == [*found, Extension("more")]

    @pytest.mark.parametrize(
        "text", ["", ",", "foo bar", "foo;", "foo; a=", 'foo; a="b', 'foo; a="b c"', 'foo; a="b,c"', "=", "foo=1"]
    )
    def test_section_9_1_what_breaks_the_grammar_fails_the_connection(self, text: str) -> None:
        with pytest.raises(HttpFault, match="malformed"):
            parse_extensions([text])
        asked = UPGRADE[:-2] + f"{EXTENSIONS}: {text}\r\n\r\n".encode()
        refused = feed(Connection(Role.SERVER, NOW), asked)[0]
        assert isinstance(refused, Refused)
        assert refused.status == 400

    def test_no_header_is_no_offer(self) -> None:
        assert parse_extensions([]) == []


class TestOffers:
    """RFC 7692, 7.1: what a server answers."""

    @pytest.mark.parametrize(
        ("offer", "answer", "agreed"),
        [
            ("permessage-deflate", "permessage-deflate", Agreement(12, False, 15, False)),
            (OFFER, f"{OFFER}=12", Agreement(12, False, 12, False)),
            ("permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=9",
             Agreement(12, False, 9, False)),
            ("permessage-deflate; client_max_window_bits=15", f"{OFFER}=12", Agreement(12, False, 12, False)),
            ("permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8",
             Agreement(8, False, 15, False)),
            ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=12",
             Agreement(12, False, 15, False)),
            ('permessage-deflate; server_max_window_bits="10"', "permessage-deflate; server_max_window_bits=10",
             Agreement(10, False, 15, False)),
            ("permessage-deflate; client_no_context_takeover; server_no_context_takeover",
             "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
             Agreement(12, True, 15, True)),
            ("x-webkit-deflate-frame, permessage-deflate", "permessage-deflate", Agreement(12, False, 15, False)),
            ("permessage-deflate; nonsense, permessage-deflate; server_no_context_takeover",
             "permessage-deflate; server_no_context_takeover", Agreement(12, True, 15, False)),
            ("permessage-deflate; server_no_context_takeover, permessage-deflate",
             "permessage-deflate; server_no_context_takeover", Agreement(12, True, 15, False)),
        ],
    )  # fmt: skip
    def test_granted(self, offer: str, answer: str, agreed: Agreement) -> None:
        assert answer_offers(parse_extensions([offer])) == (answer, agreed)

    @pytest.mark.parametrize(
        "parameters",
        [
            "nonsense", "server_no_context_takeover=1", "client_no_context_takeover=true", "server_max_window_bits",
            "server_max_window_bits=7", "server_max_window_bits=16", "server_max_window_bits=010",
            "server_max_window_bits=9x", "client_max_window_bits=7", "client_max_window_bits=16",
            "client_max_window_bits=08",
            "client_max_window_bits; client_max_window_bits", "server_no_context_takeover; server_no_context_takeover",
            "server_max_window_bits=9; server_max_window_bits=10", "Server_No_Context_Takeover",
        ],
    )  # fmt: skip
    def test_declined(self, parameters: str) -> None:
        assert answer_offers(parse_extensions([f"permessage-deflate; {parameters}"])) is None

    def test_other_extensions_are_declined(self) -> None:
        assert answer_offers(parse_extensions(["permessage-bzip2, Permessage-Deflate"])) is None


class TestAnswers:
    """RFC 7692, 7.1: what a client takes."""

    @pytest.mark.parametrize(
        ("answer", "agreed"),
        [
            ("permessage-deflate", Agreement(12, False, 15, False)),
            ("permessage-deflate; client_max_window_bits=9; server_max_window_bits=10", Agreement(9, False, 10, False)),
            ("permessage-deflate; client_no_context_takeover", Agreement(12, True, 15, False)),
            ("permessage-deflate; server_no_context_takeover", Agreement(12, False, 15, True)),
        ],
    )
    def test_taken(self, answer: str, agreed: Agreement) -> None:
        assert read_answer(parse_extensions([answer]), is_offered=True) == agreed

    @pytest.mark.parametrize(
        "answer",
        [
            "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16", "permessage-deflate; nonsense", "permessage-bzip2",
            "permessage-deflate, permessage-deflate", "permessage-deflate; server_no_context_takeover=1",
        ],
    )  # fmt: skip
    def test_refused(self, answer: str) -> None:
        with pytest.raises(HttpFault) as caught:
            read_answer(parse_extensions([answer]), is_offered=True)
        assert caught.value.status == 101

    def test_what_was_not_offered(self) -> None:
        with pytest.raises(HttpFault, match="not offered"):
            read_answer([Extension("permessage-deflate")], is_offered=False)
        assert read_answer([], is_offered=True) is None

    @pytest.mark.parametrize(("offers", "deflates"), [(True, False), (False, True), (False, False)])
    def test_both_must_want_it(self, offers: bool, deflates: bool) -> None:
        server, client = two_ends(offers, deflates)
        assert not server.is_deflated
        assert not client.is_deflated
        assert server.at_frame_boundary


class TestTwoEnds:
    @given(st.lists(st.binary(max_size=90).map(lambda some: some * 9), max_size=6), st.integers(0, 2**32 - 1))
    @settings(deadline=None)
    def test_what_one_sends_the_other_gets(self, said: list[bytes], seed: int) -> None:
        server, client = two_ends()
        for sender, receiver in ((server, client), (client, server)):
            for each in said:
                sender.send_binary(each)
            events: list[Event] = []
            for piece in random_cuts(sender.data_to_send(), seed):
                events += receiver.receive_data(piece, NOW)
                while receiver.has_more:
                    events += receiver.receive_data(b"", NOW)
            assert events == [Message(each, is_text=False) for each in said]

    def test_what_repeats_is_short(self) -> None:
        server, _ = two_ends()
        text = "".join(f"device {number} " for number in range(40))
        server.send_text(text)
        first = server.data_to_send()
        server.send_text(text)
        assert len(server.data_to_send()) < len(first) // 2 < len(text) // 4
        assert first[0] == 0xC1

    def test_messages_that_do_not_shrink_are_sent_as_they_are_and_leave_no_context(self) -> None:
        noise = np.random.default_rng(7).bytes(500)
        server, client = two_ends()
        server.send_binary(noise)
        assert server.data_to_send() == encode_frame(2, noise)
        server.send_binary(noise * 2)
        assert client.receive_data(server.data_to_send(), NOW) == [Message(noise * 2, is_text=False)]

    def test_a_deflated_stream_is_never_the_fast_paths(self) -> None:
        server, _ = two_ends()
        assert server.is_open
        assert not server.at_frame_boundary

    @pytest.mark.parametrize("bits", range(8, 16))
    @pytest.mark.parametrize("resets", [False, True])
    def test_every_window(self, bits: int, resets: bool) -> None:
        message = bytes(range(256)) * 40 + bytes(5000)
        deflater, strict = Deflater(bits, resets=resets), Inflater(bits, resets=resets)
        for _ in range(3):
            shrunk = deflater.shrink(message)
            assert shrunk is not None
            assert strict.feed(shrunk, 2**20) + strict.finish(2**20) == message
        assert deflater.shrink(b"x" * (SHRINK_BYTES_MIN - 1)) is None

    def test_with_8_bits_nothing_reaches_back_further_than_256_bytes(self) -> None:
        """zlib has no such window, so a message that repeats only what is 300 bytes back must not shrink by that."""
        block = np.random.default_rng(1).bytes(300)
        assert Deflater(8, resets=False).shrink(block * 3) is None
        assert Deflater(10, resets=False).shrink(block * 3) is not None


class TestCost:
    def test_memory_of_a_connection(self) -> None:
        """zlib's state at its largest, both directions in use, the peer's window the widest."""
        message = np.random.default_rng(3).integers(0, 4, 2**16, np.uint8).tobytes()
        shrunk = Deflater(15, resets=True).shrink(message)
        assert shrunk is not None
        tracemalloc.start()
        try:
            deflater, inflater = Deflater(12, resets=False), Inflater(15, resets=False)
            idle = tracemalloc.get_traced_memory()[0]
            deflater.shrink(message)
            inflater.feed(shrunk, 2**17)
            inflater.finish(2**17)
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert idle < 2048
        assert LIMIT_BYTES // 2 < held < LIMIT_BYTES

    def test_a_bomb_inflates_to_one_byte_too_many_and_no_more(self) -> None:
        inflater = Inflater(15, resets=False)
        bomb = zlib.compress(bytes(2**26), 9, wbits=-15)
        assert len(inflater.feed(bomb, 5000)) == 5001

    def test_a_read_of_many_messages_is_given_in_parts(self) -> None:
        server, client = two_ends()
        for _ in range(50):
            client.send_binary(bytes(10_000))
        data = client.data_to_send()
        assert len(data) < 5000
        events, calls = server.receive_data(data, NOW), 1
        while server.has_more:
            part = server.receive_data(b"", NOW)
            assert len(part) <= MESSAGE_BYTES_A_CALL // 10_000 + 1
            events, calls = events + part, calls + 1
        assert events == [Message(bytes(10_000), is_text=False)] * 50
        assert calls >= 25

    def test_messages_without_compression_are_given_at_once(self) -> None:
        server, client = two_ends(offers_deflate=False)
        for _ in range(5):
            client.send_binary(bytes(10_000))
        assert len(server.receive_data(client.data_to_send(), NOW)) == 5

    @given(st.integers(0, 600), st.integers(0, 255), st.integers(0, 2**32 - 1))
    @settings(deadline=None)
    def test_a_fault_does_not_depend_on_the_cuts(self, place: int, wrong: int, seed: int) -> None:
        text = "".join(f"pixel {number} " for number in range(300)).encode()
        payload = bytearray(zlib.compress(text, 1, wbits=-12))
        payload[place % len(payload)] ^= wrong
        outcomes = []
        for pieces in ([bytes(payload)], random_cuts(bytes(payload), seed), [bytes([one]) for one in payload]):
            inflater, found = Inflater(12, resets=False), b""
            try:
                for piece in pieces:
                    found += inflater.feed(piece, 10_000)
                found += inflater.finish(10_000)
            except ProtocolViolation as violation:
                outcomes.append((violation.close_code, violation.reason))
            else:
                outcomes.append(found)
        assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("loop", ["native", "portable", "mailbox"])
class TestServed:
    """On `/canvas`, beside those who do not compress."""

    def test_the_canvas_is_served_compressed(self, loop: str) -> None:
        with Serving(loop=loop, rate_per_s=60_000, burst=60_000) as serving:
            plain, deflated = serving.client(), Client(serving.port, headers=[(EXTENSIONS, "permessage-deflate")])
            assert "permessage-deflate" in deflated.upgrade()
            deflated.send_raw(masked_deflated(PlaceMany(((3, 4, 5),) * 30).encode()))
            deflated.send_raw(masked(Place(5, 6, 7)))
            plain.serve_until(lambda: serving.pixels[6, 5] == 7)
            assert serving.pixels[4, 3] == 5
            plain.socket.close()
            deflated.socket.close()

    def test_a_read_with_a_million_placements_is_served_in_parts(self, loop: str) -> None:
        """13 KB in, over 3 million placements out: each is counted, the queues hold, and others are served."""
        stream, many = zlib.compressobj(9, wbits=-12), PlaceMany(((1, 1, 1),) * PLACEMENTS_MAX).encode()
        data = b"".join(masked_deflated(many, stream) for _ in range(100))
        with Serving(loop=loop) as serving:
            plain, bomber = serving.client(), Client(serving.port, headers=[(EXTENSIONS, "permessage-deflate")])
            bomber.upgrade()
            bomber.send_raw(data)
            plain.serve_until(lambda: serving.counted("received_count") == 100 * PLACEMENTS_MAX)
            plain.socket.close()
            bomber.socket.close()

    def test_no_more_than_are_allowed(self, loop: str) -> None:
        with Serving(loop=loop, deflate_connections_max=1) as serving:
            first, second, third = (Client(serving.port, headers=[(EXTENSIONS, OFFER)]) for _ in range(3))
            assert EXTENSIONS in first.upgrade()
            assert EXTENSIONS not in second.upgrade()
            first.reset()
            watch = serving.client()
            watch.serve_until(lambda: serving.counted("closed_count") == 1)
            assert EXTENSIONS in third.upgrade()
            for client in (second, third, watch):
                client.socket.close()

    def test_off_is_off(self, loop: str) -> None:
        with (
            Serving(loop=loop, deflate="off") as serving,
            Client(serving.port, headers=[(EXTENSIONS, OFFER)]) as client,
        ):
            assert EXTENSIONS not in client.open()


@pytest.mark.parametrize("loop", ["native", "portable"])
class TestOrder:
    @pytest.mark.parametrize("offer", [[], [(EXTENSIONS, "permessage-deflate")]])
    def test_what_opens_a_connection_comes_first(self, loop: str, offer: list[tuple[str, str]]) -> None:
        """Also where all was said in one write: the request, a SUBSCRIBE, and goodbye."""
        with Serving(loop=loop) as serving, Client(serving.port, headers=offer) as client:
            client.send_raw(client.request + masked(Subscribe(0, 0, 0, 0)) + masked(b"\x03\xe8", 8))
            assert client.head().startswith("HTTP/1.1 101 ")
            rest = client.ended()
            hello, answers = rest[:19], rest[19:]
            assert hello[:3] == b"\x82\x11\x80"
            assert answers[-4:] == b"\x88\x02\x03\xe8"
            assert answers[0] == (0xC2 if offer else 0x82)
            if not offer:
                assert answers[4] == 0x81
                assert len(answers) == 4 + len(Snapshot(0, 0, 0, 70, 45, bytes(70 * 45)).encode()) + 4
