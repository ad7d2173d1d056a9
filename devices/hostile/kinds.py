"""The ways to misbehave, a class each, by the names of `HostileConfig`.

What a server owes each is said beside it: those that break no rule are to be served, the others ended. Invariant: the
order is that of `KINDS`.
"""

from collections.abc import Iterator

from devices.hostile.config import KINDS
from devices.hostile.misfit import HostileClient, Leave
from server.protocol.messages import PlaceMany, Subscribe
from server.wire import FIN, LENGTH_16, LENGTH_64, MASK, MESSAGE_BYTES_MAX, PLACE_MANY, ClientOp, Opcode

IDLE_S = 1.0
SMALL_BUFFER_BYTES = 4096
"""Of who does not read: the server shall feel it soon, and the kernel's memory is not what is tried."""
BYTE_S = 0.015
"""A request of some 200 bytes takes 3 s: less than a server grants a handshake by default."""
TOGETHER_NS = 5_000_000_000
EXCESS_COUNT = 600
EXCESS_S = 0.25


class Stall(HostileClient):
    """Reset when it has taken no bytes for too long."""

    receive_bytes = SMALL_BUFFER_BYTES

    def conduct(self) -> Iterator[float]:
        """Watch, send half a frame, fall silent."""
        yield from self.open()
        self.outgoing += self.frame(Subscribe().encode())
        self.outgoing += self.frame(self.placement())[:7]
        self.reads = False


class ReadNothing(HostileClient):
    """Reset likewise; until then its questions wait in its own socket, and it is read no faster than it reads."""

    receive_bytes = SMALL_BUFFER_BYTES

    def conduct(self) -> Iterator[float]:
        """Ask again and again, and read nothing."""
        yield from self.open()
        self.reads = False
        while True:
            if not self.outgoing:
                self.outgoing += self.frame(Subscribe().encode()) + self.frame(self.placement())
            yield IDLE_S


class ByteAtATime(HostileClient):
    """Served: it is slow, and breaks no rule."""

    def conduct(self) -> Iterator[float]:
        """Drip."""
        yield from self._drip(self.request)
        yield from self.hello()
        while True:
            yield from self._drip(self.frame(self.placement()))

    def _drip(self, data: bytes) -> Iterator[float]:
        for byte in data:
            self.outgoing.append(byte)
            yield BYTE_S


class OddFragments(HostileClient):
    """Served: fragments may have any size, and control frames may come between them."""

    def conduct(self) -> Iterator[float]:
        """Cut every message into fragments."""
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
    """Answered 408 when its time is over."""

    def conduct(self) -> Iterator[float]:
        """Send the beginning of a request."""
        self.outgoing += self.request[: self.random.randrange(len(self.request) - 2)]
        yield IDLE_S


class ResetMidFrame(HostileClient):
    """Gone, with nothing to answer; the half of a frame counts for nothing."""

    def conduct(self) -> Iterator[float]:
        """Break off."""
        yield from self.open()
        frame = self.frame(self.placement())
        self.outgoing += self.frame(self.placement()) + frame[: self.random.randrange(1, len(frame))]
        yield 0.1
        self.leave = Leave.RESET


class Churn(HostileClient):
    """Served, and closed in order as often as it likes."""

    pause_s = (0.0, 1.0)

    def conduct(self) -> Iterator[float]:
        """Come and go."""
        yield from self.open()
        self.outgoing += self.frame(self.placement())
        yield self.random.uniform(0.2, 2.0)
        self.close()


class ReconnectTogether(HostileClient):
    """Served anew, as fast as handshakes go."""

    pause_s = (0.0, 0.0)

    def conduct(self) -> Iterator[float]:
        """Break off when all do."""
        yield from self.open()
        self.outgoing += self.frame(self.placement())
        yield (TOGETHER_NS - self.now_ns % TOGETHER_NS) / 1e9
        self.leave = Leave.RESET


class WrongLengths(HostileClient):
    """Closed with 1002 where a length is false, with 1009 where it is true and too long."""

    def conduct(self) -> Iterator[float]:
        """Tell one lie; the next attempt tells the next."""
        yield from self.open()
        lies = (
            self.frame(PLACE_MANY.pack(ClientOp.PLACE_MANY, 0, 4096) + bytes(10)),  # Holds 2 of the 4096.
            bytes((FIN | Opcode.BINARY, MASK | LENGTH_64)) + (1 << 62).to_bytes(8, "big") + self.mask_key(),
            bytes((FIN | Opcode.BINARY, MASK | LENGTH_16, 0, 6)) + self.mask_key(),  # In a longer form than need be.
            self.frame(bytes(MESSAGE_BYTES_MAX + 1)),
            self.frame(b""),
            self.frame(self.placement()[:-1]),
        )
        self.outgoing += lies[self.turn % len(lies)]
        yield IDLE_S


class RandomBytes(HostileClient):
    """Answered 400 in place of a request, and closed after one, as soon as the bytes break a rule."""

    def conduct(self) -> Iterator[float]:
        """Send noise."""
        if self.turn % 2:
            yield from self.open()
        while True:
            if not self.outgoing:
                self.outgoing += self.random.randbytes(self.random.randrange(1, 2000))
            yield self.random.uniform(0.01, 0.2)


class OverLimit(HostileClient):
    """Dropped and told so, placement by placement; closed with 1008 where the server is set to."""

    def conduct(self) -> Iterator[float]:
        """Send far too much."""
        yield from self.open()
        while True:
            if not self.outgoing:
                self.outgoing += self.frame(self._excess())
            yield EXCESS_S

    def _excess(self) -> bytes:
        """Placements of which every second one lies beside the canvas."""
        self.placed_count += EXCESS_COUNT
        width, height, random = self.reply.width, self.reply.height, self.random
        return PlaceMany(
            tuple(
                (random.randrange(width) + width * (i % 2), random.randrange(height), i % 256)
                for i in range(EXCESS_COUNT)
            )
        ).encode()


class OldMask(HostileClient):
    """Served: a server cannot know what was drawn by lot."""

    def conduct(self) -> Iterator[float]:
        """Paint, ten times a second."""
        yield from self.open()
        while True:
            self.outgoing += self.frame(self.placement())
            yield 0.1

    def mask_key(self) -> bytes:
        """The same for every frame."""
        return b"\x12\x34\x56\x78"


CLASSES: tuple[type[HostileClient], ...] = (
    Stall,
    ReadNothing,
    ByteAtATime,
    OddFragments,
    NoHandshake,
    ResetMidFrame,
    Churn,
    ReconnectTogether,
    WrongLengths,
    RandomBytes,
    OverLimit,
    OldMask,
)
assert len(CLASSES) == len(KINDS)
