"""Where a server listens, and how many connections it lets in. What is done with them is the server's affair.

Invariant: a listener that cannot be had is told in one line, with the remedy, and leaves nothing open.
"""

import errno
import socket
import struct
import sys

from server.config import ServerConfig
from server.system import open_files

SEND_BUFFER_BYTES = 64 * 1024
"""What the system may hold for one connection (Linux takes twice as much). Left alone it would grow to megabytes for
whoever does not read, and what is held there pins memory that the others' sends would reuse."""
FILES_OF_TLS = 3
"""What a connection costs that comes by TLS: the accepted socket, and both ends of the pair behind it."""
BACKLOG = 4096
"""Sockets that the system holds for us while we are busy: a whole fleet may come at once."""

NO_FILE_NS = 20_000_000
"""How long the listener is left alone when no file is left: it would call again at once, and for ever."""
_NOTHING_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PEER_GONE = (
    errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOPROTOOPT,
)  # fmt: skip
"""What befell the network of the connection that was to be accepted: Linux gives that as the error of `accept`."""


class NoFileLeft(Exception):
    """Nothing can be accepted until a file is given back. Who knocks waits in the backlog."""


class CannotListen(Exception):
    """The address cannot be listened on; one line says why and what to do."""


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
    """The next socket that waits, without blocking, and its peer's address; None when none waits. Raises NoFileLeft."""
    while True:
        try:
            accepted, address = listener.accept()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _NOTHING_LEFT:
                raise NoFileLeft from None
            if error.errno in _PEER_GONE:
                continue  # The next may not be.
            raise
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return accepted, str(address[0])


def count_backlog(listener: socket.socket) -> int:
    """Connections that the system holds for this listener until they are accepted; 0 where it does not tell."""
    if sys.platform != "linux":
        return 0
    unacked = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)[24:]  # `tcpi_unacked`: a listener's backlog.
    return int(struct.unpack("I", unacked)[0])


def connections_allowed(config: ServerConfig) -> int:
    """Connections that fit what was configured and what the open-file limit leaves."""
    files_each = FILES_OF_TLS if config.has_tls else 1
    return max(1, min(config.connections_max, open_files.connections_that_fit() // files_each))
