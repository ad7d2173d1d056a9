"""One connection of a client that misbehaves, without its socket: what it wants to send, read and end.

A kind is a subclass whose `conduct` is a generator: it says bytes, yields the seconds until it is to go on, and when
it ends the connection stays as it is. Invariant: nothing here touches a socket or a clock.
"""

from collections.abc import Iterator
from enum import IntEnum
from random import Random

from devices.hostile.reply import Reply
from server.protocol.handshake import upgrade_request
from server.protocol.messages import Place
from server.protocol.websocket import CloseCode, encode_close, encode_frame, new_handshake_key
from server.wire import Opcode

HELLO_CHECK_S = 0.05


class Leave(IntEnum):
    """How a client ends its connection."""

    STAY = 0
    RESET = 1
    CLOSED = 2  # It has sent a close frame, and the socket goes when the server has answered.


class HostileClient:
    """One attempt to misbehave. `host`: as the Host header has it; `turn`: how often this client has dialled before."""

    receive_bytes = 0
    """Size of the socket's receive buffer; 0: the system's."""
    pause_s = (1.0, 3.0)
    """How long it waits before it dials anew: drawn between these."""

    def __init__(self, host: str, path: str, random: Random, turn: int) -> None:
        self.random, self.turn = random, turn
        self.request = upgrade_request(host, path, new_handshake_key(random.randbytes(16)))
        self.outgoing = bytearray()
        self.reply = Reply()
        self.reads = True
        self.leave = Leave.STAY
        self.placed_count = 0
        self.now_ns = 0
        """Set by whoever owns the socket before `conduct` goes on."""

    @property
    def is_closing(self) -> bool:
        """It has sent its close frame."""
        return self.leave is Leave.CLOSED

    def conduct(self) -> Iterator[float]:
        """Misbehave."""
        raise NotImplementedError

    def open(self) -> Iterator[float]:
        """Send the request and wait for HELLO."""
        self.outgoing += self.request
        yield from self.hello()

    def hello(self) -> Iterator[float]:
        """Wait for HELLO."""
        while not self.reply.is_open:
            yield HELLO_CHECK_S

    def frame(self, payload: bytes, opcode: int = Opcode.BINARY, *, is_final: bool = True) -> bytes:
        """One frame as a client that behaves would send it."""
        return encode_frame(opcode, payload, is_final=is_final, mask_key=self.mask_key())

    def mask_key(self) -> bytes:
        """A new one for every frame."""
        return self.random.randbytes(4)

    def placement(self) -> bytes:
        """A PLACE somewhere on the canvas."""
        self.placed_count += 1
        x, y = self.random.randrange(self.reply.width), self.random.randrange(self.reply.height)
        return Place(x, y, self.random.randrange(256)).encode()

    def close(self) -> None:
        """End in order."""
        self.outgoing += self.frame(encode_close(CloseCode.NORMAL), Opcode.CLOSE)
        self.leave = Leave.CLOSED
