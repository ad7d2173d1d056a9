"""One TLS connection: encrypted bytes on the client's side, a plain socket on the loop's side.

The loop has the other end of a socket pair, and serves it as any accepted socket: buffers, brakes and evictions work as
usual. Nothing here blocks or reads a clock. Nothing is read from one side while the other has not taken what came
before, so a connection holds two chunks and what TLS itself needs, even if a side stalls.
"""

import socket
import ssl
from contextlib import suppress

from server.accept.listener import SEND_BUFFER_BYTES
from server.protocol.http import encode_response

# Most that is read at once: as much as one TLS record holds.
CHUNK_BYTES = 16 * 1024
# Nothing is read from a client that leaves this much untaken: TLS itself answers some of its messages.
ANSWERS_BYTES_MAX = 64 * 1024
PLAIN_HTTP = encode_response(
    400,
    (("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")),
    b"this port speaks TLS: use https:// or wss://\n",
)


class Broken(Exception):
    """The connection is broken: the input is not TLS, or the client left in the middle of the handshake."""


def _receive(source: socket.socket) -> bytes | None:
    """Read what is there: b"" at the end of the stream, None when there is nothing yet. Raises OSError."""
    try:
        return source.recv(CHUNK_BYTES)
    except (BlockingIOError, InterruptedError):
        return None


def _send(target: socket.socket, data: bytes) -> bytes:
    """Send bytes; returns those that were not taken. Raises OSError."""
    try:
        return data[target.send(data) :] if data else b""
    except (BlockingIOError, InterruptedError):
        return data


class TlsStream:
    """Moves the bytes of one connection. `outer`: the accepted socket, non-blocking. `until_ns`: its deadline."""

    def __init__(self, outer: socket.socket, context: ssl.SSLContext, until_ns: int) -> None:
        self.outer = outer
        # Our end of the pair, once the handshake is done.
        self.inner: socket.socket | None = None
        self.until_ns = until_ns  # 0: none.
        # The loop has closed its end: what it sent before still goes out, and nothing more comes in.
        self.is_left = False
        # Epoll masks of the outer and the inner socket, kept here for the terminator.
        self.watched = (0, 0)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._cipher, self._plain = b"", b""  # On their way to the client, and to the loop.
        self._has_begun = False
        self._client_ended = self._client_end_passed = False
        self._loop_ended = self._loop_end_passed = False

    @property
    def is_over(self) -> bool:
        """Whether both sides have had all that there was for them, and know of the end."""
        return self._loop_end_passed and not self._cipher and (self.is_left or self._client_end_passed)

    def wants_outer(self) -> tuple[bool, bool]:
        """Whether it waits to read from the client, and to write to it."""
        reads = not self._client_ended and not self._plain and len(self._cipher) < ANSWERS_BYTES_MAX
        return reads and not self.is_left, bool(self._cipher) or self.is_left

    def wants_inner(self) -> tuple[bool, bool]:
        """Whether it waits to read from the loop, and to write to it."""
        if self.inner is None or self.is_left:
            return False, False
        return not self._loop_ended and not self._cipher, bool(self._plain)

    def shake_hands(self) -> socket.socket | None:
        """Continue the handshake. Returns the loop's end of the pair once it is done. Raises Broken, OSError."""
        data = _receive(self.outer)
        if data is None or self._loop_ended:
            self._flush()
            self._client_end_passed = self._client_ended = data == b""
            return None
        if not data:
            raise Broken("the client left in the middle of the handshake")
        if not self._has_begun and data[:1].isupper():
            self._refuse_plain_http()
            return None
        self._has_begun = True
        self._incoming.write(data)
        is_done = self._continue_handshake()
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

    def _refuse_plain_http(self) -> None:
        """Answer a client that speaks plain HTTP, and wait until it has read that."""
        self._cipher, self._loop_ended = PLAIN_HTTP, True
        self._flush()

    def _continue_handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self._flush()  # TLS has written an alert for the client, which says what is wrong.
            raise Broken(str(error)) from None
        return True

    def _open_pair(self) -> socket.socket:
        self.inner, theirs = socket.socketpair()
        for end in (self.inner, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.until_ns = 0
        self._plain = self._decrypt()  # The first request may have come with the end of the handshake.
        return theirs

    # To the loop.

    def _carry_in(self, inner: socket.socket) -> None:
        if self.wants_outer()[0]:
            data = _receive(self.outer)
            if data is not None:
                self._take_cipher(data)
        try:
            self._plain = _send(inner, self._plain)
            if self._client_ended and not self._plain and not self._client_end_passed:
                self._client_end_passed = True
                inner.shutdown(socket.SHUT_WR)
        except OSError:
            self._plain, self.is_left = b"", True

    def _take_cipher(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            # Not passed on to TLS, which would then send nothing more either. HTTP and WebSocket notice truncation.
            self._client_ended = True
        self._plain = self._decrypt()

    def _decrypt(self) -> bytes:
        """All records that came whole, decrypted."""
        parts = []
        try:
            while part := self._tls.read(CHUNK_BYTES):
                parts.append(part)
            self._client_ended = True
        except ssl.SSLWantReadError:
            pass  # The rest of a record is yet to come.
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
            data = b""  # It left without reading all its input. What it had sent has been read.
        if data is None:
            return
        if data:
            self._tls.write(data)
        else:
            self._loop_ended = True
            with suppress(ssl.SSLError):  # It wants to read the client's close_notify, for which `carry` waits.
                self._tls.unwrap()
        self._flush()

    def _flush(self) -> None:
        """Send the client what is encrypted; after the last of it, end our side of the stream."""
        self._cipher = _send(self.outer, self._cipher + self._outgoing.read())
        if self._loop_ended and not self._cipher and not self._loop_end_passed:
            self._loop_end_passed = True
            self.outer.shutdown(socket.SHUT_WR)
