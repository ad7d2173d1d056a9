"""The WebSocket as a conformance suite sees it: a plain client on a socket, `/echo` behind it, sections 1 to 13.

Sections 1 to 10 are the tables of `wire_cases`; 12 and 13, compression, stand here. A case ends with the close frames
and the end of the stream, so whatever a server sends too much is seen. The sections are those of the Autobahn suite,
which needs Python 2.7 and so is run by hand: its fuzzing client against `workbench serve --echo`.
"""

import threading
import zlib
from collections.abc import Iterator

import pytest

from server.protocol.websocket import parse_head
from server.wire import RSV1
from support.serving import Client, Serving
from support.wire_cases import BINARY, CASES, CLOSE, MORE, PING, PONG, TEXT, Case, fails, fragments, frame

OFFERS = {
    "permessage-deflate": "permessage-deflate",
    "permessage-deflate; client_max_window_bits": "permessage-deflate; client_max_window_bits=12",
    "permessage-deflate; client_no_context_takeover": "permessage-deflate; client_no_context_takeover",
    "permessage-deflate; server_no_context_takeover; client_max_window_bits=9": (
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=9"
    ),
    "permessage-deflate; server_max_window_bits=9": "permessage-deflate; server_max_window_bits=9",
    "permessage-deflate; server_max_window_bits=8; client_max_window_bits=15": (
        "permessage-deflate; server_max_window_bits=8; client_max_window_bits=12"
    ),
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=15, permessage-deflate": (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=12"
    ),
}
"""What clients offer to the answer they get; the sets of sections 12 and 13, and the least window there is."""
SIZES = [(16, 0), (64, 0), (256, 0), (1024, 0), (8192, 0), (65536, 0), (131072, 0), (8192, 256), (131072, 4096)]
"""Bytes of a message, and of its fragments; 0: whole."""
WORDS = ("the pixel canvas and its devices say much the same again and again, " * 2000).encode()


def stream(message: bytes) -> bytes:
    """A message as a stream that ends, as RFC 7692, 7.2.3.5 has it."""
    return zlib.compress(message, wbits=-15) + b"\0"


@pytest.fixture(scope="module", params=["native", "portable", "mailbox"])
def echo(request: pytest.FixtureRequest) -> Iterator[Serving]:
    with Serving(loop=request.param, echo=True) as serving:
        yield serving


class Peer(Client):
    """The client's end on /echo; with `offer`, compressing as was agreed."""

    def __init__(self, serving: Serving, offer: str | None = None) -> None:
        headers = [("Sec-WebSocket-Extensions", offer)] if offer else []
        super().__init__(serving.port, "/echo", headers=headers)
        head = self.upgrade()
        assert head.startswith("HTTP/1.1 101 "), head
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        self.answer = fields.get("Sec-WebSocket-Extensions")
        bits = 15 if "client_max_window_bits" not in (self.answer or "") else int(self.answer.rpartition("=")[2])
        self._bits, self._forgets = bits, "client_no_context_takeover" in (self.answer or "")
        self._are_forgotten = "server_no_context_takeover" in (self.answer or "")
        self._deflater = self._inflater = None

    def shrink(self, message: bytes) -> bytes:
        if self._deflater is None or self._forgets:
            self._deflater = zlib.compressobj(wbits=-self._bits)
        return (self._deflater.compress(message) + self._deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def answered(self) -> tuple[int, bytes]:
        """The next frame, inflated where it says so."""
        while True:
            head = parse_head(self._buffer, 0, reserved_bits_allowed=RSV1 if self.answer else 0)
            if head is not None and len(self._buffer) >= head.head_bytes + head.payload_bytes:
                break
            assert self._receive(), f"the stream ended in {bytes(self._buffer)!r}"
        assert head.mask_key is None and head.is_final
        end = head.head_bytes + head.payload_bytes
        payload = bytes(self._buffer[head.head_bytes : end])
        del self._buffer[:end]
        return head.opcode, self._inflate(payload) if head.reserved_bits else payload

    def _inflate(self, payload: bytes) -> bytes:
        if self._inflater is None or self._are_forgotten:
            bits = 15
            if "server_max_window_bits=" in self.answer:
                bits = max(9, int(self.answer.partition("server_max_window_bits=")[2].partition(";")[0]))
            self._inflater = zlib.decompressobj(-bits)
        return self._inflater.decompress(payload + b"\0\0\xff\xff")

    def follow(self, case: Case) -> None:
        """Write what the case says, while reading what it names; then see the connection ended in order."""
        writer = threading.Thread(target=self._write, args=[case])
        writer.start()
        try:
            assert [self.answered() for _ in case.answers] == case.answers
            opcode, payload = self.answered()
            assert opcode == CLOSE, (opcode, payload[:40])
            code = case.code or 1000
            assert payload[:2] == (code.to_bytes(2, "big") if code != 1005 else b"")
            assert self.ended() == b""
        finally:
            self.socket.close()
            writer.join()

    def _write(self, case: Case) -> None:
        try:
            for data in case.writes:
                self.send_raw(data)
            if case.code is None:
                self.send_raw(frame(CLOSE, b"\x03\xe8"))
        except OSError:
            assert case.code is not None  # It had heard enough, and closed.


@pytest.mark.parametrize("name", CASES)
def test_section(echo: Serving, name: str) -> None:
    Peer(echo).follow(CASES[name])


class TestCompression:
    """Sections 12 and 13; and what RFC 7692 demands beyond them."""

    @pytest.mark.parametrize("offer", OFFERS)
    @pytest.mark.parametrize(("size", "fragment"), SIZES)
    def test_messages_come_back(self, echo: Serving, offer: str, size: int, fragment: int) -> None:
        peer = Peer(echo, offer)
        assert peer.answer == OFFERS[offer]
        text, noise = WORDS[:size], zlib.compress(WORDS * 9, 9)[:size].ljust(size, b"\1")
        said = [(TEXT, text), (BINARY, noise), (TEXT, text), (BINARY, noise + text), (TEXT, b"")]
        writes = []
        for opcode, message in said:
            shrunk = peer.shrink(message)
            writes += fragments(opcode, shrunk, fragment or len(shrunk) or 1, RSV1)
        writes.append(frame(TEXT, "not compressed"))
        peer.follow(Case(writes, [*said, (TEXT, b"not compressed")]))

    def test_pings_between_fragments(self, echo: Serving) -> None:
        peer = Peer(echo, "permessage-deflate")
        first, *rest = fragments(TEXT, peer.shrink(WORDS[:300]), 10, RSV1)
        peer.follow(Case([first, frame(PING, "p"), *rest], [(PONG, b"p"), (TEXT, WORDS[:300])]))

    @pytest.mark.parametrize(
        ("payload", "message"),
        [
            ("f248cdc9c90700", b"Hello"),
            ("000500faff48656c6c6f00", b"Hello"),
            ("f348cdc9c9070000", b"Hello"),
            ("f248050000 00ffff cac9c90700", b"Hello"),
            ("00", b""),
        ],
    )
    def test_rfc_7692_section_7_2_3_examples(self, echo: Serving, payload: str, message: bytes) -> None:
        data = bytes.fromhex(payload)
        peer = Peer(echo, "permessage-deflate")
        peer.follow(Case([frame(TEXT, data, reserved=RSV1), frame(BINARY, "x")], [(TEXT, message), (BINARY, b"x")]))

    @pytest.mark.parametrize(
        ("name", "case"),
        [
            ("not DEFLATE", fails(1007, frame(BINARY, b"\x07\xff", reserved=RSV1))),
            ("ends inside a block", fails(1007, frame(BINARY, bytes.fromhex("f248cdc9"), reserved=RSV1))),
            ("no payload at all", fails(1007, frame(BINARY, b"", reserved=RSV1))),
            ("beyond the window", fails(1007, frame(BINARY, b"\x02\x08\x20\x80", reserved=RSV1))),
            ("inflates to what is not UTF-8", fails(1007, frame(TEXT, stream(b"a\xff" * 9), reserved=RSV1))),
            ("a stream in each two bytes", fails(1008, frame(BINARY, b"\x03\x00" * 400, reserved=RSV1))),
            ("RSV1 on a ping", fails(1002, frame(PING, reserved=RSV1))),
            ("RSV1 on a continuation", fails(1002, frame(TEXT, "a", is_final=False), frame(MORE, "b", reserved=RSV1))),
            ("RSV2", fails(1002, frame(TEXT, "a", reserved=0x20))),
            ("RSV1 and RSV3", fails(1002, frame(TEXT, "a", reserved=0x50))),
            ("a bomb of 64 MiB", fails(1009, frame(BINARY, stream(bytes(2**26)), reserved=RSV1))),
            ("says it has 2 ** 40 bytes", fails(1009, b"\xc2\xff" + (2**40).to_bytes(8, "big") + b"\0\0\0\0")),
        ],
    )  # fmt: skip
    def test_faults(self, echo: Serving, name: str, case: Case) -> None:
        Peer(echo, "permessage-deflate").follow(case)

    def test_16_mib_of_the_same(self, echo: Serving) -> None:
        peer = Peer(echo, "permessage-deflate; client_max_window_bits")
        message = bytes(2**24)
        peer.follow(Case([frame(BINARY, peer.shrink(message), reserved=RSV1)], [(BINARY, message)]))

    def test_not_offered_not_spoken(self, echo: Serving) -> None:
        peer = Peer(echo)
        assert peer.answer is None
        peer.follow(fails(1002, frame(TEXT, "a", reserved=RSV1)))
