"""An engine on a bench: ticks by hand in virtual time."""

import numpy as np

from server.config import ServerConfig
from server.engine.engine import Engine
from server.ipc.page import Page, canvas_sections, telemetry_sections
from server.kernels.layout import REQUEST, TICK_ROWS
from server.protocol.messages import Delta, decode_server_message
from server.protocol.websocket import parse_head

MS = 1_000_000


START_NS = 3_000_000_000


class Bench:
    """An engine with one loop, and a hand that paints as apply does."""

    def __init__(self, slots=4, **settings):
        self.config = ServerConfig(**{"width": 70, "height": 45, "tick_ms": 100, "tick_ms_max": 400} | settings)
        self.telemetry = Page.create(telemetry_sections(1))
        self.canvas_page = Page.create(canvas_sections(self.config.width, self.config.height))
        self.engine = Engine(self.config, self.telemetry, self.canvas_page)
        self.loop = self.engine.new_loop(slots, 64)
        self.engine.start(START_NS)
        self.now_ns = START_NS

    def paint(self, x, y, color):
        page, tick = self.canvas_page, self.engine.tick_number + 1
        page["pixels"][y, x], page["pixel_tick"][y, x], page["tile_tick"][y // 32, x // 32] = color, tick, tick

    def fill(self, colors):
        """Paint every pixel: `colors` has the canvas's shape."""
        tick = self.engine.tick_number + 1
        self.canvas_page["pixels"][:] = colors
        self.canvas_page["pixel_tick"][:], self.canvas_page["tile_tick"][:] = tick, tick

    def tick(self, encode_ns=0):
        """One tick, on time. False when it was put off."""
        self.now_ns = self.engine.next_tick_ns
        if not self.engine.tick(self.now_ns):
            return False
        self.engine.publish(self.now_ns, encode_ns)
        return True

    def broadcast(self):
        """The last broadcast: (encoding, DELTA)."""
        head = self.engine.broadcast.head[0]
        frame = self.engine.broadcast.bytes[int(head["frame_start"]) : int(head["frame_end"])].tobytes()
        start = parse_head(frame, 0).head_bytes
        delta = decode_server_message(frame[start:])
        assert isinstance(delta, Delta)
        assert frame[start + 1] == head["encoding"]
        return int(head["encoding"]), delta

    def row(self):
        return self.telemetry["ticks"][self.engine.tick_number % TICK_ROWS]

    def subscribe(self, x=0, y=0, width=0, height=0, interval_ms=0, flags=0, slot=1):
        request = np.zeros((), REQUEST)
        request["slot"], request["flags"], request["interval_ms"] = slot, flags, interval_ms
        request["x"], request["y"], request["width"], request["height"] = x, y, width, height
        self.loop.requests[0] = request
        return self.engine.subscribe(self.loop, 0, self.now_ns)
