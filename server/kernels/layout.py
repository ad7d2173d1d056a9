"""Every dtype and array shape that a kernel or another process sees. Imports no compiler.

Arrays are plain C-ordered numpy arrays. Times are int64 nanoseconds of CLOCK_MONOTONIC. Counters only grow, are
eight bytes wide and have one writer, so a reader in another process needs no lock: a difference of two readings is
always a true count. All records are aligned; the asserts below hold the layout that `LAYOUT_VERSION` names.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

LAYOUT_VERSION = 1

TILE_SIDE = 32
TILE_PIXELS = TILE_SIDE * TILE_SIDE
CANVAS_SIDE_MAX = 8192
"""256 x 256 tiles are as many as a tile number of 16 bits can name."""

assert (CANVAS_SIDE_MAX // TILE_SIDE) ** 2 == 2**16


class Stage(IntEnum):
    """The stages of the server in their order; the index of a row in the `stages` section."""

    ACCEPT = 0
    READ = 1
    DECODE = 2
    ADMIT = 3
    APPLY = 4
    JOURNAL = 5
    ENCODE = 6
    FANOUT = 7


STAGE_COUNT = len(Stage)


class State(IntEnum):
    """What a process of a session is doing; `state` in SERVER and FLEET."""

    STARTING = 0
    COMPILING = 1
    CONNECTING = 2
    RUNNING = 3
    DRAINING = 4
    STOPPED = 5
    FAILED = 6


# --- The telemetry page of the server -------------------------------------------------------------------------------

STAGE = np.dtype(
    [
        ("busy_ns", "u8"),  # Service time so far, without waiting.
        ("batch_count", "u8"),
        ("item_count", "u8"),  # Items served.
        ("depth", "u8"),  # Items waiting in front of the stage when it last began a batch.
        ("depth_peak", "u8"),  # The most that ever waited.
        ("depth_sum", "u8"),  # Sum of `depth` over all batches: mean depth = depth_sum / batch_count.
        ("depth_max", "u8"),  # The limit of the queue in front, in the same items.
        ("drop_count", "u8"),  # Items given up in front of this stage, for whatever reason.
    ],
    align=True,
)
"""Items: accept handshakes; read ready sockets; decode bytes; admit messages; apply placements; encode tiles; fan-out
connections that are owed a delta."""

LOOP = np.dtype(
    [
        ("connection_count", "u8"),  # Open WebSocket connections now.
        ("subscriber_count", "u8"),  # Of these, watching.
        ("accepted_count", "u8"),  # Sockets accepted since the start.
        ("closed_count", "u8"),  # Sockets closed since the start, whoever closed them.
        ("evicted_count", "u8"),  # Of these, closed by us: stalled, over the limit too long.
        ("protocol_error_count", "u8"),
        ("received_count", "u8"),  # Placements decoded.
        ("admitted_count", "u8"),  # Placements let in by bounds and bucket.
        ("throttled_count", "u8"),  # Refused for rate.
        ("shed_count", "u8"),  # Refused for overload.
        ("out_of_bounds_count", "u8"),
        ("applied_count", "u8"),  # Placements written to the canvas.
        ("read_count", "u8"),  # recv calls that brought bytes.
        ("received_bytes", "u8"),
        ("send_count", "u8"),
        ("sent_bytes", "u8"),
        ("delta_count", "u8"),  # DELTA frames handed to the kernel.
        ("delta_bytes", "u8"),
        ("delta_pixel_count", "u8"),  # Pixel changes in these, summed over connections.
        ("conflated_count", "u8"),  # DELTA frames made for one laggard.
        ("snapshot_count", "u8"),
        ("handover_count", "u8"),  # Times that bytes went to the slow path.
        ("outbox_bytes", "u8"),  # Held now for sockets that did not take them.
        ("cpu_ns", "u8"),  # Processor time of the loop's thread.
    ],
    align=True,
)

SERVER = np.dtype(
    [
        ("state", "u8"),
        ("process_id", "u8"),
        ("heartbeat_ns", "i8"),  # When the page was last written.
        ("cpu_ns", "u8"),  # Processor time of the process.
        ("resident_bytes", "u8"),
        ("tick", "u8"),  # The last finished tick.
        ("tick_interval_ns", "i8"),  # As it is now, stretched or not.
        ("tick_stretch_count", "u8"),  # Times the interval grew because a broadcast did not fit.
        ("merged_count", "u8"),  # Distinct pixel changes in the deltas of all ticks.
        ("encoded_bytes", "u8"),
        ("port", "u8"),
    ],
    align=True,
)

TICK = np.dtype(
    [
        ("tick", "u8"),
        ("start_ns", "i8"),
        ("lateness_ns", "i8"),  # Behind the time it was due.
        ("interval_ns", "i8"),  # Since the start of the tick before.
        ("encode_ns", "i8"),
        ("tile_count", "u4"),
        ("pixel_count", "u4"),  # Merged: distinct pixel changes.
        ("frame_bytes", "u4"),  # The whole-canvas frame as sent.
        ("encoding", "u4"),  # 0 as it is, 1 zlib.
        ("admitted_count", "u8"),  # Of all loops, since the start.
        ("in_flight_count", "u8"),  # Received, not yet applied or refused.
        (
            "depth_peak",
            "u4",
            (STAGE_COUNT,),
        ),  # The most that waited in front of each stage since the tick before.
    ],
    align=True,
)
TICK_ROWS = 4096
"""Rows of the tick ring: row of tick t is t % TICK_ROWS. Written before `SERVER.tick` names it."""


# --- The telemetry page of a fleet ----------------------------------------------------------------------------------

FLEET = np.dtype(
    [
        ("state", "u8"),
        ("process_id", "u8"),
        ("heartbeat_ns", "i8"),
        ("cpu_ns", "u8"),
        ("resident_bytes", "u8"),
        ("started_ns", "i8"),  # First intended send time; 0 before.
        ("device_count", "u8"),  # Devices of the scenario.
        ("connection_count", "u8"),  # Connections open now.
        ("subscriber_count", "u8"),  # Of these, have had their SNAPSHOT.
        ("offered_count", "u8"),  # Placements whose intended send time has come.
        ("sent_count", "u8"),  # Placements whose frame the kernel has taken.
        ("write_count", "u8"),  # send calls.
        ("sent_bytes", "u8"),
        ("blocked_count", "u8"),  # Writes that the socket did not take whole.
        ("received_bytes", "u8"),
        ("delta_count", "u8"),
        ("delta_pixel_count", "u8"),  # Delivered: pixel changes in the deltas received, summed over viewers.
        ("snapshot_count", "u8"),
        ("throttled_count", "u8"),  # As THROTTLED told: dropped for rate.
        ("shed_count", "u8"),
        ("out_of_bounds_count", "u8"),
        ("lost_count", "u8"),  # Connections that ended when nobody asked them to.
        ("refused_count", "u8"),  # Connections that never opened.
        ("protocol_error_count", "u8"),  # Bytes from the server that break protocol.md.
        ("viewer_checked_count", "u8"),  # Viewers compared with the server's canvas at the end.
        ("viewer_wrong_count", "u8"),  # Of these, those that differ.
    ],
    align=True,
)

HISTOGRAM_OCTAVES = 34
HISTOGRAM_BUCKETS = 64 + 32 * HISTOGRAM_OCTAVES
"""Log-linear buckets over microseconds: exact to 63, then 32 an octave (at most 3.2 % wide); see kernels/histogram."""
HISTOGRAM = np.dtype("u8")


# --- The history that the session writes for the panels -------------------------------------------------------------

SAMPLE = np.dtype(
    [
        ("time_ns", "i8"),
        ("offered_per_s", "f4"),
        ("received_per_s", "f4"),
        ("admitted_per_s", "f4"),
        ("broadcast_per_s", "f4"),  # Merged: distinct pixel changes broadcast.
        ("delivered_per_s", "f4"),  # Summed over viewers.
        ("throttled_per_s", "f4"),
        ("shed_per_s", "f4"),
        ("out_of_bounds_per_s", "f4"),
        ("latency_ms_p50", "f4"),  # Placement-to-view; NaN where nothing was seen.
        ("latency_ms_p99", "f4"),
        ("latency_ms_max", "f4"),
        ("depth_peak", "f4", (STAGE_COUNT,)),
        ("utilisation_ratio", "f4", (STAGE_COUNT,)),
    ],
    align=True,
)
SAMPLE_ROWS = 6144
"""Rows of the sample ring, ten a second: a little over ten minutes. Row of sample n is n % SAMPLE_ROWS."""
SAMPLE_INTERVAL_NS = 100_000_000


# --- Inside a loop --------------------------------------------------------------------------------------------------


class Phase(IntEnum):
    """What a connection slot is doing."""

    FREE = 0
    SLOW = 1  # Bytes go to the Python `Connection`: handshake, fragment, control frame, closing.
    FAST = 2  # Bytes go through the compiled decoder.
    DEAD = 3  # The socket failed or ended; the loop's Python side is to close it.


CARRY_BYTES = 64
"""Bytes of an unfinished frame that the fast path keeps by itself; a longer rest takes the slow path."""

CONNECTION = np.dtype(
    [
        ("fd", "i4"),
        ("phase", "u1"),
        ("subscribed", "u1"),
        ("writable_armed", "u1"),  # EPOLLOUT is asked for.
        ("reading_paused", "u1"),  # Its outbox is above the high-water mark: we do not read from it.
        ("number", "u4"),  # Unique since the start; HELLO tells it.
        ("cursor", "u4"),  # The tick up to which this connection has all changes.
        ("tile_x0", "u2"),  # Subscribed tiles, half open.
        ("tile_y0", "u2"),
        ("tile_x1", "u2"),
        ("tile_y1", "u2"),
        ("carry_bytes", "u4"),
        ("interval_ns", "i8"),
        ("due_ns", "i8"),  # No delta before this.
        ("full_ns", "i8"),  # Token bucket: when it will be full again (see kernels/buckets).
        ("over_since_ns", "i8"),  # Over the limit without a pause since; 0 = not.
        ("progress_ns", "i8"),  # When the peer last took bytes, or last owed us nothing.
        ("outbox_pointer", "u8"),  # malloc'ed private bytes that go out before any further delta.
        ("outbox_start", "u4"),
        ("outbox_end", "u4"),
        ("outbox_size", "u4"),
        ("dropped_reported", "u4"),  # `dropped` of the last THROTTLED.
        ("reported_ns", "i8"),
        ("received_count", "u8"),
        ("admitted_count", "u8"),
        ("throttled_count", "u8"),
        ("shed_count", "u8"),
        ("out_of_bounds_count", "u8"),
        ("delta_count", "u8"),
        ("opened_ns", "i8"),
    ],
    align=True,
)

assert CONNECTION.itemsize == 160


class Kind(IntEnum):
    """What a record of the message and placement queues is."""

    PLACE = 0
    REQUEST = 1  # SUBSCRIBE or PING; `index` points into the request array.


MESSAGE = np.dtype(
    [
        ("slot", "u4"),
        ("x", "u2"),
        ("y", "u2"),
        ("color", "u1"),
        ("kind", "u1"),
        ("index", "u2"),  # Of the request, when kind is REQUEST.
    ],
    align=True,
)
"""Decode > admit: one placement (PLACE_MANY becomes many) or one request."""

PLACEMENT = np.dtype(
    [
        ("pixel", "u4"),  # y * width + x.
        ("slot", "u4"),
        ("tile", "u2"),
        ("index", "u2"),
        ("color", "u1"),
        ("kind", "u1"),
    ],
    align=True,
)
"""Admit > apply: admitted placements and, in their order, the requests between them."""

REQUEST = np.dtype(
    [
        ("nonce", "u8"),
        ("slot", "u4"),
        ("interval_ms", "u2"),
        ("x", "u2"),
        ("y", "u2"),
        ("width", "u2"),
        ("height", "u2"),
        ("op", "u1"),
        ("flags", "u1"),
    ],
    align=True,
)
REQUESTS_MAX = 4096
"""Requests waiting at once in a loop; a full array stops the decoder until they are answered."""

SEGMENT = np.dtype([("slot", "u4"), ("start", "u4"), ("end", "u4"), ("more", "u4")], align=True)
"""Bytes of one connection in the arena: [start, end). `more` is 1 when the socket may hold more."""

assert MESSAGE.itemsize == 12
assert PLACEMENT.itemsize == 16
assert REQUEST.itemsize == 24
assert SEGMENT.itemsize == 16


def tile_shape(width: int, height: int) -> tuple[int, int]:
    """Tiles across and down of a canvas, edge tiles included."""
    return (width + TILE_SIDE - 1) // TILE_SIDE, (height + TILE_SIDE - 1) // TILE_SIDE


def stage_names() -> list[str]:
    """The stages' names as shown, in their order."""
    return [stage.name.lower().replace("fanout", "fan-out") for stage in Stage]


def new_samples() -> NDArray[np.void]:
    """An empty sample ring, shape (SAMPLE_ROWS,), dtype SAMPLE."""
    return np.zeros(SAMPLE_ROWS, SAMPLE)
