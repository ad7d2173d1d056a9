"""The kinds of hostile clients, one class each, named as in `HostileConfig` and in the order of `KINDS`.

Each docstring says what the server must do: those that break no rule are to be served, the others ended.
"""

from collections.abc import Iterator

from devices.hostile.client import HostileClient, Leave
from devices.hostile.config import KINDS
from server.protocol.messages import PlaceMany, Subscribe
from server.wire import FIN, LENGTH_16, LENGTH_64, MASK, MESSAGE_BYTES_MAX, PLACE_MANY, ClientOp, Opcode

IDLE_S = 1.0
# Receive buffer of clients that do not read: the server should notice soon, not fill the kernel's memory first.
SMALL_BUFFER_BYTES = 4096
# A request of some 200 bytes takes 3 s: less than a server's default handshake timeout.
BYTE_S = 0.015
TOGETHER_NS = 5_000_000_000
EXCESS_COUNT = 600
EXCESS_S = 0.25


class Stall(HostileClient):
    """Subscribe, send half a frame, then do nothing. Reset when it has not read for too long."""

    receive_bytes = SMALL_BUFFER_BYTES

    def script(self) -> Iterator[float]:
        yield from self.open()
        self.outgoing += self.frame(Subscribe().encode())
        self.outgoing += self.frame(self.placement())[:7]
        self.reads = False


class ReadNothing(HostileClient):
    """Ask for the canvas again and again, never read. Reset likewise; meanwhile the server reads no more from it."""

    receive_bytes = SMALL_BUFFER_BYTES

    def script(self) -> Iterator[float]:
        yield from self.open()
        self.reads = False
        while True:
            if not self.outgoing:
                self.outgoing += self.frame(Subscribe().encode()) + self.frame(self.placement())
            yield IDLE_S


class ByteAtATime(HostileClient):
    """One byte per write. Served: it is slow, and breaks no rule."""

    def script(self) -> Iterator[float]:
        yield from self._drip(self.request)
        yield from self.wait_for_hello()
        while True:
            yield from self._drip(self.frame(self.placement()))

    def _drip(self, data: bytes) -> Iterator[float]:
        for byte in data:
            self.outgoing.append(byte)
            yield BYTE_S


class OddFragments(HostileClient):
    """Tiny and empty fragments with pings between. Served: RFC 6455 allows any size, and control frames between."""

    def script(self) -> Iterator[float]:
        yield from self.open()
        while True:
            message, opcode = self.placement(), Opcode.BINARY
            while message:
                size = self.random.randrange(3)
                self.outgoing += self.frame(message[:size], opcode, is_final=False)
                self.outgoing += self.frame(b"odd", Opcode.PING)
                message, opcode = message[size:], Opcode.CONTINUATION
                yield self.random.uniform(0.0, 0.1)
            self.outgoing += self.frame(b"", Opcode.CONTINUATION)


class NoHandshake(HostileClient):
    """Send only the beginning of a request. Answered with 408 at the handshake timeout."""

    def script(self) -> Iterator[float]:
        self.outgoing += self.request[: self.random.randrange(len(self.request) - 2)]
        yield IDLE_S


class ResetMidFrame(HostileClient):
    """Reset in the middle of a frame. There is nothing to answer, and the incomplete frame has no effect."""

    def script(self) -> Iterator[float]:
        yield from self.open()
        frame = self.frame(self.placement())
        self.outgoing += self.frame(self.placement()) + frame[: self.random.randrange(1, len(frame))]
        yield 0.1
        self.leave = Leave.RESET


class Churn(HostileClient):
    """Connect, paint once, close. Served, and closed with a handshake every time."""

    pause_s = (0.0, 1.0)

    def script(self) -> Iterator[float]:
        yield from self.open()
        self.outgoing += self.frame(self.placement())
        yield self.random.uniform(0.2, 2.0)
        self.close()


class ReconnectTogether(HostileClient):
    """Reset at a moment that all of this kind share. Served again, as fast as handshakes go."""

    pause_s = (0.0, 0.0)

    def script(self) -> Iterator[float]:
        yield from self.open()
        self.outgoing += self.frame(self.placement())
        yield (TOGETHER_NS - self.now_ns % TOGETHER_NS) / 1e9
        self.leave = Leave.RESET


class WrongLengths(HostileClient):
    """One wrong length per connection, in turn. Closed with 1002; with 1009 where the length is right and too long."""

    def script(self) -> Iterator[float]:
        yield from self.open()
        wrong = (
            self.frame(PLACE_MANY.pack(ClientOp.PLACE_MANY, 0, 4096) + bytes(10)),  # Holds 2 of the 4096.
            bytes((FIN | Opcode.BINARY, MASK | LENGTH_64)) + (1 << 62).to_bytes(8, "big") + self.mask_key(),
            bytes((FIN | Opcode.BINARY, MASK | LENGTH_16, 0, 6)) + self.mask_key(),  # Not the shortest form for 6.
            self.frame(bytes(MESSAGE_BYTES_MAX + 1)),
            self.frame(b""),
            self.frame(self.placement()[:-1]),
        )
        self.outgoing += wrong[self.turn % len(wrong)]
        yield IDLE_S


class RandomBytes(HostileClient):
    """Random bytes. Answered with 400 instead of a request, and closed after one once they break a rule."""

    def script(self) -> Iterator[float]:
        if self.turn % 2:
            yield from self.open()
        while True:
            if not self.outgoing:
                self.outgoing += self.random.randbytes(self.random.randrange(1, 2000))
            yield self.random.uniform(0.01, 0.2)


class OverLimit(HostileClient):
    """Far too many placements, every second one outside the canvas. Throttled; closed with 1008 where configured."""

    def script(self) -> Iterator[float]:
        yield from self.open()
        while True:
            if not self.outgoing:
                self.outgoing += self.frame(self._excess())
            yield EXCESS_S

    def _excess(self) -> bytes:
        self.placed_count += EXCESS_COUNT
        width, height, random = self.width, self.height, self.random
        places = [(random.randrange(width) + width * (i % 2), random.randrange(height)) for i in range(EXCESS_COUNT)]
        return PlaceMany(tuple((x, y, i % 256) for i, (x, y) in enumerate(places))).encode()


class OldMask(HostileClient):
    """The same mask key for every frame. Served: the server cannot know how a key was chosen."""

    def script(self) -> Iterator[float]:
        yield from self.open()
        while True:
            self.outgoing += self.frame(self.placement())
            yield 0.1

    def mask_key(self) -> bytes:
        return b"\x12\x34\x56\x78"


CLASSES: tuple[type[HostileClient], ...] = (
    Stall, ReadNothing, ByteAtATime, OddFragments, NoHandshake, ResetMidFrame, Churn, ReconnectTogether, WrongLengths,
    RandomBytes, OverLimit, OldMask,
)  # fmt: skip
assert len(CLASSES) == len(KINDS)
