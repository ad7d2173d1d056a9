"""permessage-deflate (RFC 7692): the extension's header, its negotiation, and the compression of messages.

What the parameters of the header mean:

    PARAMETER                    IN AN OFFER                           IN THE ANSWER
    server_no_context_takeover   the server is asked to keep none      it keeps none; always given when offered
    client_no_context_takeover   the client keeps none if asked        the client must keep none
    server_max_window_bits=8-15  upper limit of the server's window    the server's window, when offered
    client_max_window_bits[=..]  the client accepts a limit            the client's window, only when offered

Memory of one connection, by zlib's own account: to send 2 ** (bits + 2) + 2 ** (MEMORY_LEVEL + 9) bytes and 6 KiB, so
at most 38 KiB; to receive 2 ** bits and 10 KiB, so at most 42 KiB. Neither direction takes any before its first
compressed message, nor between messages without context takeover.
"""

import re
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from server.protocol.http import TOKEN, HttpFault
from server.protocol.websocket import CloseCode, ProtocolViolation

HEADER = "Sec-WebSocket-Extensions"
NAME = "permessage-deflate"
OFFER = f"{NAME}; client_max_window_bits"
"""What our client offers."""
WINDOW_BITS_MAX = 15
# Our own window: 4 KiB find nearly all that a canvas message repeats, with an eighth of the memory of 32 KiB.
OWN_WINDOW_BITS = 12
# Level 1 gains most of what there is to gain in a tenth of the time of level 9.
LEVEL = 1
MEMORY_LEVEL = 5
# Shorter messages are sent as they are: there is nothing to gain.
SHRINK_BYTES_MIN = 32
# Payload is inflated in slices counted from the message's start, so that a fault is always found at the same place.
SLICE_BYTES = 1024
# DEFLATE streams per message. A sender may end its stream with each flush; hundreds of ends only cost the receiver.
STREAMS_MAX = 64

# RFC 7692, 7.2.1: a sync flush ends with these bytes. They are not sent, and appended again before inflating.
_TAIL = b"\x00\x00\xff\xff"
_FINAL_BLOCK = b"\x03\x00"
_FLAGS = frozenset({"server_no_context_takeover", "client_no_context_takeover"})
_BITS = {str(bits): bits for bits in range(8, WINDOW_BITS_MAX + 1)}

_PARAMETER_TEXT = rf'[ \t]*;[ \t]*({TOKEN})(?:[ \t]*=[ \t]*(?:({TOKEN})|"((?:[^"\\]|\\.)*)"))?'
_PARAMETER = re.compile(_PARAMETER_TEXT)
_EXTENSION = re.compile(rf"[ \t,]*({TOKEN})((?:{_PARAMETER_TEXT})*)[ \t]*(?:,|$)")


class Extension(NamedTuple):
    """One member of the header's list. A parameter without a value has None."""

    name: str
    parameters: tuple[tuple[str, str | None], ...] = ()


def parse_extensions(values: list[str], fault_status: int = 400) -> list[Extension]:
    """The extensions in all values of the header, in order. Raises HttpFault `fault_status` (RFC 6455, 9.1).

    A header that breaks the grammar is refused as a whole, never read in part.
    """
    text = ", ".join(values).strip(" \t,")
    malformed = HttpFault(fault_status, f"{HEADER} {', '.join(values)[:60]!r} is malformed")
    if values and not text:
        raise malformed
    found, position = [], 0
    while position < len(text):
        match = _EXTENSION.match(text, position)
        if match is None:
            raise malformed
        parameters = []
        for name, value, quoted in (parameter.groups() for parameter in _PARAMETER.finditer(match[2])):
            unquoted = value if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            # A quoted value must be a token, too, once it is unquoted.
            if quoted is not None and not re.fullmatch(TOKEN, unquoted):
                raise malformed
            parameters.append((name, unquoted))
        found.append(Extension(match[1], tuple(parameters)))
        position = match.end()
    return found


@dataclass(frozen=True, slots=True)
class Agreement:
    """How one end sends and receives. Windows in bits, 8 to 15; `*_resets`: no context between messages."""

    send_window_bits: int
    send_resets: bool
    receive_window_bits: int
    receive_resets: bool


def answer_offers(offers: list[Extension]) -> tuple[str, Agreement] | None:
    """The header value that accepts the first valid offer, and its meaning for the server. None: no offer is valid."""
    for offer in offers:
        parameters = _parameters(offer, lone_bits="client_max_window_bits") if offer.name == NAME else None
        if parameters is not None:
            return _accept(parameters)
    return None


def _accept(offer: dict[str, int | None]) -> tuple[str, Agreement]:
    own_bits = min(OWN_WINDOW_BITS, offer.get("server_max_window_bits") or WINDOW_BITS_MAX)
    their_bits = WINDOW_BITS_MAX
    answer = [NAME, *(flag for flag in sorted(_FLAGS, reverse=True) if flag in offer)]
    if "server_max_window_bits" in offer:
        answer.append(f"server_max_window_bits={own_bits}")
    if "client_max_window_bits" in offer:
        their_bits = min(OWN_WINDOW_BITS, offer["client_max_window_bits"] or WINDOW_BITS_MAX)
        answer.append(f"client_max_window_bits={their_bits}")
    own_resets, their_resets = "server_no_context_takeover" in offer, "client_no_context_takeover" in offer
    return "; ".join(answer), Agreement(own_bits, own_resets, their_bits, their_resets)


def read_answer(answer: list[Extension], *, is_offered: bool) -> Agreement | None:
    """The meaning of a server's answer to `OFFER` for the client. None: declined. Raises HttpFault 101."""
    if not answer:
        return None
    if not is_offered or len(answer) > 1 or answer[0].name != NAME:
        raise HttpFault(101, "the server chose an extension that was not offered")
    parameters = _parameters(answer[0], lone_bits=None)
    if parameters is None:
        raise HttpFault(101, f"the server's parameters of {NAME} are not what RFC 7692 allows")
    return Agreement(
        send_window_bits=min(OWN_WINDOW_BITS, parameters.get("client_max_window_bits") or WINDOW_BITS_MAX),
        send_resets="client_no_context_takeover" in parameters,
        receive_window_bits=parameters.get("server_max_window_bits") or WINDOW_BITS_MAX,
        receive_resets="server_no_context_takeover" in parameters,
    )


def _parameters(extension: Extension, *, lone_bits: str | None) -> dict[str, int | None] | None:
    """The parameters by name, None where RFC 7692 forbids one. `lone_bits` may have no value."""
    found: dict[str, int | None] = {}
    for name, value in extension.parameters:
        bits = _BITS.get(value) if value is not None else None
        is_flag = name in _FLAGS and value is None
        is_window = name in ("server_max_window_bits", "client_max_window_bits") and (
            bits is not None or (value is None and name == lone_bits)
        )
        if name in found or not (is_flag or is_window):
            return None
        found[name] = bits
    return found


class Deflater:
    """The sending direction. `resets`: each message is compressed by itself."""

    def __init__(self, window_bits: int, *, resets: bool) -> None:
        # zlib refuses a raw window of 8 bits. Runs (Z_RLE) reach back one byte only, so they fit into any window.
        self._strategy = zlib.Z_RLE if window_bits == 8 else zlib.Z_DEFAULT_STRATEGY
        self._window_bits = max(9, window_bits)
        self._resets = resets
        self._stream: zlib._Compress | None = None

    def shrink(self, message: bytes) -> bytes | None:
        """The compressed message, which must be sent next; None when the message itself is shorter."""
        if len(message) < SHRINK_BYTES_MIN:
            return None
        stream = self._stream or zlib.compressobj(
            LEVEL, zlib.DEFLATED, -self._window_bits, MEMORY_LEVEL, self._strategy
        )
        data = stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(_TAIL)
        is_shorter = len(data) - len(_TAIL) < len(message)
        # Start again after a message sent as it is: later ones would refer to it, and the peer did not inflate it.
        self._stream = stream if is_shorter and not self._resets else None
        return data[: -len(_TAIL)] if is_shorter else None


class Inflater:
    """The receiving direction. `resets`: the sender compresses each message by itself.

    What comes of a message does not depend on where the stream was cut.
    """

    def __init__(self, window_bits: int, *, resets: bool) -> None:
        self._window_bits = max(9, window_bits)  # zlib-based senders use 9 when they announce 8.
        self._resets = resets
        self._stream: zlib._Decompress | None = None
        self._pending = bytearray()
        self._streams_ended = 0
        self._has_just_ended = False

    def feed(self, payload: bytes, bytes_max: int) -> bytes:
        """Take the next piece of a message. Returns at most `bytes_max` + 1 bytes, which is too long then.

        Raises ProtocolViolation.
        """
        self._pending += payload
        found = bytearray()
        while len(self._pending) >= SLICE_BYTES and len(found) <= bytes_max:
            piece = bytes(self._pending[:SLICE_BYTES])
            del self._pending[:SLICE_BYTES]
            self._inflate(piece, found, bytes_max)
        return bytes(found)

    def finish(self, bytes_max: int) -> bytes:
        """The rest of a message that has come whole, as from `feed`. Raises ProtocolViolation."""
        found = bytearray()
        self._inflate(bytes(self._pending), found, bytes_max)
        self._pending.clear()
        # Where a stream ends exactly with the message, the tail would begin another one.
        if len(found) <= bytes_max and not self._has_just_ended:
            self._inflate(_TAIL, found, bytes_max)
        if len(found) <= bytes_max and not self._is_between_blocks():
            raise ProtocolViolation(CloseCode.INVALID_DATA, "a compressed message ends inside a block")
        self._streams_ended, self._has_just_ended = 0, False
        if self._resets:
            self._stream = None
        return bytes(found)

    def _inflate(self, data: bytes, found: bytearray, bytes_max: int) -> None:
        """Append the inflated `data` to `found`, up to `bytes_max` + 1 bytes."""
        while data and len(found) <= bytes_max:
            stream = self._stream = self._stream or zlib.decompressobj(-self._window_bits)
            try:
                found += stream.decompress(data, bytes_max + 1 - len(found))
            except zlib.error as error:
                raise ProtocolViolation(CloseCode.INVALID_DATA, "a compressed message is not DEFLATE") from error
            data = stream.unused_data
            self._has_just_ended = stream.eof and not data
            if stream.eof:
                self._begin_another_stream()

    def _begin_another_stream(self) -> None:
        # RFC 7692, 7.2.3.5: a sender may end its stream and begin another within a message.
        self._stream = None
        self._streams_ended += 1
        if self._streams_ended > STREAMS_MAX:
            reason = f"a compressed message of more than {STREAMS_MAX} streams"
            raise ProtocolViolation(CloseCode.POLICY_VIOLATION, reason)

    def _is_between_blocks(self) -> bool:
        """Whether another block could begin here: whether a copy of the stream accepts one."""
        if self._stream is None:
            return self._has_just_ended
        probe = self._stream.copy()
        try:
            return not probe.decompress(_FINAL_BLOCK) and probe.eof and not probe.unused_data
        except zlib.error:
            return False
