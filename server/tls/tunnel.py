"""One TLS connection: encrypted bytes on the client's side, a plain socket on the loop's.

The loop holds the other end of a socket pair and serves it as any accepted socket: its buffers, brakes and evictions
work as ever. Nothing here waits, and nothing reads a clock. Invariant: from either side nothing more is taken while the
other has not had what came before, so that a connection holds two chunks and what TLS itself needs, whoever stalls.
"""

import socket
import ssl
from contextlib import suppress

from server.accept.listener import SEND_BUFFER_BYTES
from server.protocol.http import encode_response

CHUNK_BYTES = 16 * 1024
"""Most that is read at once: as much as one TLS record holds."""
ANSWERS_BYTES_MAX = 64 * 1024
"""Nothing more is read from a client that leaves so much untaken: TLS has answers of its own, to messages of TLS."""
PLAIN_HTTP = encode_response(
    400,
    (("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")),
    b"this port speaks TLS: use https:// or wss://\n",
)


class Broken(Exception):
    """The connection cannot go on: what came is no TLS, or the client left in the middle of a handshake."""


def _receive(source: socket.socket) -> bytes | None:
    """What has come: b"" at the end of the stream, None when there is nothing yet. Raises OSError."""
    try:
        return source.recv(CHUNK_BYTES)
    except (BlockingIOError, InterruptedError):
        return None


def _send(target: socket.socket, data: bytes) -> bytes:
    """Offer bytes; returns those that were not taken. Raises OSError."""
    try:
        return data[target.send(data) :] if data else b""
    except (BlockingIOError, InterruptedError):
        return data


class TlsStream:
    """Carries one connection. `outer` is the accepted socket; it does not block. `until_ns`: when to give it up."""

    def __init__(self, outer: socket.socket, context: ssl.SSLContext, until_ns: int) -> None:
        self.outer = outer
        self.inner: socket.socket | None = None
        """Our end of the pair, once the handshake is done."""
        self.until_ns = until_ns
        """0: there is nothing to wait for."""
        self.is_left = False
        """The loop has closed its end: what it sent before still goes out, and nothing comes in any more."""
        self.watched = (0, 0)
        """What whoever drives this waits for, on the outer and the inner socket."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._cipher, self._plain = b"", b""
        """On their way to the client, and to the loop."""
        self._has_begun = False
        self._client_ended = self._client_end_told = False
        self._loop_ended = self._loop_end_told = False

    @property
    def is_over(self) -> bool:
        """Both sides have had all that there was for them."""
        is_told = self._loop_end_told and not self._cipher
        return is_told and (self.is_left or self._client_end_told)

    def wants_outer(self) -> tuple[bool, bool]:
        """Whether it waits to read from the client, and to write to it."""
        hears = not self._client_ended and not self._plain and len(self._cipher) < ANSWERS_BYTES_MAX
        return hears and not self.is_left, bool(self._cipher) or self.is_left

    def wants_inner(self) -> tuple[bool, bool]:
        """Whether it waits to read from the loop, and to write to it."""
        if self.inner is None or self.is_left:
            return False, False
        return not self._loop_ended and not self._cipher, bool(self._plain)

    def shake_hands(self) -> socket.socket | None:
        """Go on with the handshake. Returns the loop's end once it is done. Raises Broken, OSError."""
        data = _receive(self.outer)
        if data is None or self._loop_ended:
            self._flush()
            self._client_end_told = self._client_ended = data == b""
            return None
        if not data:
            raise Broken("the client left in the middle of the handshake")
        if not self._has_begun and data[:1].isupper():
            self._turn_away()
            return None
        self._has_begun = True
        self._incoming.write(data)
        is_done = self._go_on_shaking()
        self._flush()
        return self._open_pair() if is_done else None

    def carry(self) -> None:
        """Move what can be moved, a chunk each way. Raises Broken, OSError."""
        assert self.inner is not None
        self._carry_in(self.inner)
        self._carry_out(self.inner)

    def close(self) -> None:
        """Close both sockets, whatever is left."""
        self.outer.close()
        if self.inner is not None:
            self.inner.close()

    # The handshake.

    def _turn_away(self) -> None:
        """Somebody speaks plain HTTP: say so, and wait until that is read."""
        self._cipher, self._loop_ended = PLAIN_HTTP, True
        self._flush()

    def _go_on_shaking(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self._flush()  # The alert says to the client what is wrong.
            raise Broken(str(error)) from None
        return True

    def _open_pair(self) -> socket.socket:
        self.inner, theirs = socket.socketpair()
        for end in (self.inner, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.until_ns = 0
        self._plain = self._decrypt()  # It may have come with the end of the handshake.
        return theirs

    # To the loop.

    def _carry_in(self, inner: socket.socket) -> None:
        if self.wants_outer()[0]:
            data = _receive(self.outer)
            if data is not None:
                self._take_cipher(data)
        try:
            self._plain = _send(inner, self._plain)
            if self._client_ended and not self._plain and not self._client_end_told:
                self._client_end_told = True
                inner.shutdown(socket.SHUT_WR)
        except OSError:
            self._plain, self.is_left = b"", True

    def _take_cipher(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._client_ended = True  # TLS is not told, for it would take no answer either. Who is cut short can tell.
        self._plain = self._decrypt()

    def _decrypt(self) -> bytes:
        """All that came, as far as it is whole."""
        parts = []
        try:
            while part := self._tls.read(CHUNK_BYTES):
                parts.append(part)
            self._client_ended = True
        except ssl.SSLWantReadError:
            pass  # The rest of a record has yet to come.
        except ssl.SSLZeroReturnError:
            self._client_ended = True
        except ssl.SSLError as error:
            self._flush()
            raise Broken(str(error)) from None
        return b"".join(parts)

    # To the client.

    def _carry_out(self, inner: socket.socket) -> None:
        self._flush()
        if self._cipher or self._loop_ended:
            return
        try:
            data = _receive(inner)
        except OSError:
            data = b""  # It left without reading all that came: what it sent before has been read.
        if data is None:
            return
        if data:
            self._tls.write(data)
        else:
            self._loop_ended = True
            with suppress(ssl.SSLError):  # It wants to read the client's goodbye, for which `carry` waits.
                self._tls.unwrap()
        self._flush()

    def _flush(self) -> None:
        """Offer the client what is encrypted; after the last of it, end our side of the stream."""
        self._cipher = _send(self.outer, self._cipher + self._outgoing.read())
        if self._loop_ended and not self._cipher and not self._loop_end_told:
            self._loop_end_told = True
            self.outer.shutdown(socket.SHUT_WR)
