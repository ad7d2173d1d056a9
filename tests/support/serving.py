"""A real server in a thread of the test, and a plain client on a blocking socket: what tests of the wire share.

The client waits for what must come, never for a time; `PATIENCE_S` only bounds how long a failure takes.
"""

import contextlib
import socket
import struct
import threading

import numpy as np

from server.config import ServerConfig
from server.ipc.page import Page, canvas_sections, connection_sections, telemetry_sections
from server.protocol.blocks import apply_blocks
from server.protocol.messages import (
    Delta,
    Hello,
    Ping,
    Pong,
    Snapshot,
    decode_server_message,
)
from server.protocol.websocket import decode_close, encode_frame, parse_head
from server.server import open_server
from server.system.clock import now_ns
from server.wire import Opcode
from support.feeding import KEY

PATIENCE_S = 120
"""No deadline of a test is shorter. It costs nothing where all is well, and a busy machine needs it."""
MASK = b"\x5a\xc3\x0f\x99"


class Serving:
    """`with Serving(rate_per_s=9) as serving:` runs a small server, and ends it in order.

    It is as patient with its clients as the tests are, unless a test is about its deadlines.
    """

    def __init__(self, **settings):
        usual = {"width": 70, "height": 45, "tick_ms": 10, "connections_max": 256}
        self.config = ServerConfig(**usual | {"handshake_s": PATIENCE_S, "stall_s": PATIENCE_S} | settings)
        self.telemetry = Page.create(telemetry_sections(self.config.loop_rows))
        self.canvas = Page.create(canvas_sections(self.config.width, self.config.height))
        self.connections = Page.create(connection_sections(self.config.loop_rows, self.config.connections_max))
        self.server = open_server(self.config, self.telemetry, self.canvas, connections=self.connections)
        self.port = 0
        self._failure = None
        self._thread = threading.Thread(target=self._run, name="server")

    def __enter__(self):
        self.server.prepare(lambda done, total, name: None)
        _, self.port = self.server.listen()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def _run(self):
        try:
            self.server.run()
        except BaseException as failure:
            self._failure = failure

    def stop(self):
        """Drain, wait for the end, and raise what the server raised."""
        self.server.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the server does not end"
        if self._failure is not None:
            raise self._failure

    @property
    def pixels(self):
        return self.canvas["pixels"]

    @property
    def tick(self):
        """The last finished tick."""
        return int(self.telemetry["server"]["tick"][0])

    def counted(self, name):
        """A counter of the telemetry page, over all loops."""
        return int(self.telemetry["loops"][name].sum())

    def connection(self, client):
        """The row of the connections page that is an open client's."""
        rows = self.connections["connections"].reshape(-1)
        return rows[rows["number"] == client.hello.connection][0]

    def client(self, **options):
        """An open connection that has had its HELLO."""
        client = Client(self.port, **options)
        client.open()
        return client


class ClosedByServer(Exception):
    """A close frame came: code and reason."""

    def __init__(self, code, reason):
        super().__init__(code, reason)
        self.code, self.reason = int(code), reason


def masked(message, opcode=Opcode.BINARY, *, is_final=True):
    """One frame to the server of a message or of bytes."""
    payload = message if isinstance(message, bytes) else message.encode()
    return encode_frame(opcode, payload, is_final=is_final, mask_key=MASK)


class Client:
    """A plain client. As a viewer it keeps `pixels` as SNAPSHOT and DELTA tell them."""

    def __init__(self, port, path="/canvas", *, receive_bytes=None, subprotocols=(), headers=(), tls=None):
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.request = self._upgrade_request(port, path, subprotocols, headers)
        self._buffer = bytearray()
        self._nonce = 0
        self.hello = None
        self.pixels = None
        self.seen = []
        """Every message since the start."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    @staticmethod
    def _upgrade_request(port, path, subprotocols, headers):
        fields = [("Host", f"127.0.0.1:{port}"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
        fields += [("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Version", "13"), *headers]
        if subprotocols:
            fields.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()

    def open(self):
        """Upgrade, and take HELLO."""
        head = self.upgrade()
        assert head.startswith("HTTP/1.1 101 "), head
        self.welcome()
        return head

    def welcome(self):
        """Take HELLO."""
        self.hello = self.message()
        assert isinstance(self.hello, Hello)
        self.pixels = np.zeros((self.hello.height, self.hello.width), np.uint8)

    def upgrade(self):
        """Ask for the upgrade; returns the head of the answer."""
        self.send_raw(self.request)
        return self.head()

    def head(self):
        """Read the head of an HTTP answer."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            assert self._receive(), f"the stream ended in {bytes(self._buffer)!r}"
        head = self._buffer[:end].decode()
        del self._buffer[: end + 4]
        return head

    def send(self, *messages):
        """Send messages, all in one write."""
        self.send_raw(b"".join(masked(message) for message in messages))

    def send_raw(self, data):
        self.socket.sendall(data)

    def _receive(self):
        data = self.socket.recv(1 << 16)
        self._buffer += data
        return bool(data)

    def frame(self):
        """The next frame: (opcode, payload). Raises EOFError at the end of the stream."""
        while True:
            head = parse_head(self._buffer, 0)
            if head is not None and len(self._buffer) >= head.head_bytes + head.payload_bytes:
                break
            if not self._receive():
                raise EOFError(bytes(self._buffer))
        assert head.mask_key is None and head.is_final
        end = head.head_bytes + head.payload_bytes
        payload = bytes(self._buffer[head.head_bytes : end])
        del self._buffer[:end]
        return head.opcode, payload

    def message(self):
        """The next message. A close frame is answered, and raises ClosedByServer."""
        opcode, payload = self.frame()
        if opcode == Opcode.CLOSE:
            with contextlib.suppress(ConnectionError):  # It may be gone already, if we closed first.
                self.send_raw(masked(payload, Opcode.CLOSE))
            raise ClosedByServer(*decode_close(payload))
        assert opcode == Opcode.BINARY, (opcode, payload)
        message = decode_server_message(payload)
        self.seen.append(message)
        if isinstance(message, Snapshot):
            picture = np.frombuffer(message.pixels, np.uint8).reshape(message.height, message.width)
            area = self.pixels[message.y : message.y + message.height, message.x : message.x + message.width]
            area[:] = picture
        elif isinstance(message, Delta):
            apply_blocks(self.pixels, message.blocks)
        return message

    def until(self, kind):
        """Read on until a message of this class comes; returns it."""
        while not isinstance(message := self.message(), kind):
            pass
        return message

    def ping(self):
        """All that was sent before is served when this returns. Returns the PONG's tick."""
        self._nonce += 1
        self.send(Ping(self._nonce))
        pong = self.until(Pong)
        assert pong.nonce == self._nonce
        return pong.tick

    def up_to(self, tick):
        """As a viewer: read until all of `tick` is here."""
        while not self.seen or not isinstance(self.seen[-1], Delta) or self.seen[-1].tick < tick:
            self.message()

    def serve_until(self, condition):
        """Go round trips until `condition()` holds: the server goes on meanwhile, and no test waits for a time."""
        deadline_ns = now_ns() + PATIENCE_S * 1_000_000_000
        while not condition():
            assert now_ns() < deadline_ns, "what is waited for does not come"
            self.ping()

    def closed(self):
        """Read on until a close frame comes; returns its code and reason."""
        try:
            while True:
                self.message()
        except ClosedByServer as end:
            return end.code, end.reason

    def ended(self):
        """Read on to the end of the stream, which a reset ends too; returns what came before it."""
        with contextlib.suppress(ConnectionResetError):
            while self._receive():
                pass
        return bytes(self._buffer)

    def reset(self):
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
