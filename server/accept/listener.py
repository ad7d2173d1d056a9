"""The listening socket of a server, and how many connections it may accept."""

import errno
import socket
import struct
import sys

from server.config import ServerConfig
from server.system import open_files

SEND_BUFFER_BYTES = 64 * 1024
"""What the system may hold for one connection (Linux takes twice as much). By default it grows to megabytes for a peer
that does not read, and pins memory that sends to others would reuse."""
# Descriptors of a connection over TLS: the accepted socket, and both ends of the socket pair behind it.
FILES_OF_TLS = 3
BACKLOG = 4096
"""Connections that the system holds while we are busy: a whole fleet may come at once."""

NO_FILE_NS = 20_000_000
"""How long the listener rests when file descriptors have run out: it stays readable, and would wake us at once."""
_NOTHING_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# Errors of the pending connection, which Linux reports as errors of `accept`.
_PEER_GONE = (
    errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOPROTOOPT,
)  # fmt: skip


class NoFileLeft(Exception):
    """Nothing can be accepted until a file descriptor is closed. Meanwhile connections wait in the backlog."""


class CannotListen(Exception):
    """The server cannot listen; one line says why and what to do."""


def open_listener(config: ServerConfig) -> socket.socket:
    """A socket that listens where `config` says, without blocking. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # Accepted sockets inherit it.
        listener.bind((config.host, config.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        remedy = "choose another port, or 0 for any free one" if config.port else "choose another host"
        raise CannotListen(f"cannot listen on {config.host} port {config.port}: {error.strerror}; {remedy}") from None
    listener.setblocking(False)
    return listener


def accept_next(listener: socket.socket) -> tuple[socket.socket, str] | None:
    """The next pending connection and its peer's address; None when there is none. Raises NoFileLeft."""
    while True:
        try:
            accepted, address = listener.accept()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _NOTHING_LEFT:
                raise NoFileLeft from None
            if error.errno in _PEER_GONE:
                continue  # The next connection may be fine.
            raise
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return accepted, str(address[0])


def count_backlog(listener: socket.socket) -> int:
    """Connections that the system holds for this listener until they are accepted; 0 where it does not say."""
    if sys.platform != "linux":
        return 0
    unacked = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)[24:]  # `tcpi_unacked`: a listener's backlog.
    return int(struct.unpack("I", unacked)[0])


def connections_allowed(config: ServerConfig) -> int:
    """Connections that the settings and the open-file limit allow."""
    files_each = FILES_OF_TLS if config.has_tls else 1
    return max(1, min(config.connections_max, open_files.connections_that_fit() // files_each))
