"""Arrays for one loop and one canvas, as the kernels take them, compiled or not. What tests of single stages share.

Invariant: a test that goes through these arrays runs the same with the compiler switched off.
"""

import numpy as np
import pytest

from server.config import ServerConfig
from server.engine.canvas import new_brakes, new_rules
from server.kernels.arrays import CanvasArrays, new_broadcast_arrays, new_loop_arrays
from server.kernels.kernel import is_compiled
from server.kernels.layout import LOOP, MESSAGE, PLACEMENT, REQUEST, STAGE, STAGE_COUNT, TILE, Kind
from server.wire import tile_shape

ALL = 1 << 40
"""More items than any queue holds."""

needs_compiler = pytest.mark.skipif(not is_compiled(), reason="calls the C library, which only compiled kernels can")


def as_kernels_take_them(arrays):
    """Compiled kernels reach fields as attributes; uncompiled ones can where the arrays are numpy's record arrays."""
    if is_compiled():
        return arrays
    return type(arrays)(*(_as_record_array(array) for array in arrays))


def _as_record_array(array):
    if isinstance(array, tuple):
        return as_kernels_take_them(array)
    return array.view(np.recarray) if array.dtype.names else array


def new_canvas(width=70, height=45, **settings):
    """An empty canvas that is at its first tick, and its rules."""
    config = ServerConfig(width=width, height=height, **settings)
    across, down = tile_shape(width, height)
    arrays = CanvasArrays(
        np.zeros(width * height, np.uint8),
        np.zeros(width * height, np.uint32),
        np.zeros(across * down, np.uint32),
        new_rules(config),
        np.zeros(width * height, np.uint32),
        np.zeros(across * down, TILE),
        new_brakes(config.brakes),
    )
    return as_kernels_take_them(arrays)


def new_loop(canvas, slots=4, messages=256, placements=256, requests=8):
    """A loop's arrays with queues short enough to be filled."""
    counts, stages = np.zeros(1, LOOP), np.zeros(STAGE_COUNT, STAGE)
    arrays = new_loop_arrays(slots, 4096, len(canvas.tile_tick), counts, stages)
    queues = {
        "messages": np.zeros(messages, MESSAGE),
        "placements": np.zeros(placements, PLACEMENT),
        "requests": np.zeros(requests, REQUEST),
    }
    return as_kernels_take_them(arrays._replace(**queues))


def new_records(count, dtype):
    """Zeros of a record dtype."""
    zeros = np.zeros(count, dtype)
    return zeros if is_compiled() else zeros.view(np.recarray)


def new_broadcast(canvas):
    return as_kernels_take_them(new_broadcast_arrays(canvas))


def paint(canvas, x, y, color, tick=None):
    """Set one pixel as `apply` would, in the coming tick or another."""
    rules = canvas.rules[0]
    tick = int(rules["tick_next"]) if tick is None else tick
    pixel = y * int(rules["width"]) + x
    tile = (y // 32) * int(rules["tiles_across"]) + x // 32
    canvas.pixels[pixel] = color
    canvas.pixel_tick[pixel] = tick
    canvas.tile_tick[tile] = max(tick, int(canvas.tile_tick[tile]))


def picture(canvas):
    """The canvas's pixels, shape (height, width), a copy."""
    rules = canvas.rules[0]
    return canvas.pixels.reshape(int(rules["height"]), int(rules["width"])).copy()


def waiting_messages(loop):
    """The message queue as plain values, requests looked up."""
    queues = loop.queues[0]
    found = []
    for message in loop.messages[int(queues["message_head"]) : int(queues["message_end"])]:
        if message["kind"] == Kind.PLACE:
            found.append(("place", *(int(message[name]) for name in ("slot", "x", "y", "color"))))
        else:
            found.append(request_of(loop, int(message["index"])))
    return found


def request_of(loop, index):
    """One request as plain values."""
    request = loop.requests[index]
    if request["op"] == 4:
        return ("ping", int(request["slot"]), int(request["nonce"]))
    names = ("slot", "flags", "x", "y", "width", "height", "interval_ms")
    return ("subscribe", *(int(request[name]) for name in names))


def take_messages(loop):
    """Empty the message queue, as the stages behind it do when they have served all."""
    found = waiting_messages(loop)
    for name in ("message_head", "message_end", "request_head", "request_end"):
        loop.queues[0][name] = 0
    return found
