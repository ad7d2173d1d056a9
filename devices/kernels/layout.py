"""Every dtype and array shape of a fleet. Imports no compiler.

A fleet of n devices that write f frames at a time is one `Arrays`: plain numpy arrays, written only by the kernel that
runs. Times are int64 nanoseconds of CLOCK_MONOTONIC. Invariant: `due_ns[d]` is a time only while device d is on the
fast path and has no unsent bytes; otherwise it is NEVER_NS.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.wire import FULL_BLOCK_BYTES

NEVER_NS = 2**63 - 1
# Values from here on encode a parked time, not a moment: see `schedule`.
PARKED_NS = 2**62
# Number of past schedule changes kept for devices that lag behind.
EPOCHS_MAX = 4096

# Mean time between two latency probes of a fleet: 2,000 a second are plenty for p99.9 and cost little.
PROBE_INTERVAL_NS = 500_000
# Number of probes under way at a time: half of them are in use after a stall of four seconds.
PROBES_MAX = 16384

# Skylines of the picture: three mountain ranges, far to near, and the near shore.
RIDGES = 4
# Known transitions per state; a fifth replaces the oldest.
BRANCHES = 4
# Distinct frames kept. Viewers are a few ticks apart, so only the most recent ones are needed.
FRAMES_MAX = 256
# Distinct canvases kept. State 0 is no canvas: nothing received yet, or dropped for lack of memory.
STATES_MAX = 1024
# The longest message about one region: four blocks of the full kind, or a SNAPSHOT, which is shorter.
REGION_PAYLOAD_BYTES_MAX = 4 * FULL_BLOCK_BYTES + 44
# Pixels across and down of the four tiles around a device.
REGION_SIDE = 64
# How far from its own pixel a device paints that watches its surroundings: always within these four tiles.
REGION_REACH = 15
# `FRAMES_MAX` for each region, which few devices share.
REGION_FRAMES_MAX = 8
# `STATES_MAX` for each region, which few devices share.
REGION_STATES_MAX = 8


class Arrivals(IntEnum):
    """How intended send times are drawn."""

    PERIODIC = 0
    POISSON = 1
    BURSTY = 2


class Pattern(IntEnum):
    """What the devices paint."""

    SENSOR_FIELD = 0
    IMAGE = 1
    LIFE = 2
    HOTSPOT = 3
    NOISE = 4


class Region(IntEnum):
    """What viewers watch."""

    WHOLE = 0
    AROUND = 1  # The two by two tiles around the device's pixel, which paints there too.


class Phase(IntEnum):
    """State of a device's connection."""

    IDLE = 0  # Not dialed yet.
    CONNECTING = 1  # TCP connect is pending; waits to become writable.
    GREETING = 2  # WebSocket handshake and HELLO, in the Python `Connection`.
    SLOW = 3  # Bytes go to the Python `Connection`: control frame, fragment, closing.
    FAST = 4  # Bytes go through the compiled pass.
    GONE = 5  # Lost, refused or closed.


class Verdict(IntEnum):
    """Result of a message or a step of the compiled pass."""

    DONE = 0
    UNKNOWN = 1  # No transition from the viewer's state for this frame yet: Python learns it, then the pass retries.
    VIOLATION = 2  # Breaks the canvas protocol.
    HANDOVER = 3  # Bytes for the slow path.
    CONNECTED = 4  # A connecting socket became writable, or failed.
    ENDED = 5  # End of stream or a socket error.


DEVICE = np.dtype(
    [
        ("send_word", "u8"),  # Random state of the schedule at the position that is sent from ...
        ("offer_word", "u8"),  # ... and at the position that offers are counted from: the same stream, read separately.
        ("send_next_ns", "i8"),  # Intended time of the first placement after the batch.
        ("offer_next_ns", "i8"),  # Intended time of the next placement to count as offered.
        ("wake_ns", "i8"),  # Intended time of the batch's last placement.
        ("interval_ns", "i8"),  # Mean time between placements.
        ("ping_nonce", "u8"),  # Of a PING that no placements precede and that is not answered yet; 0: there is none.
        ("rest_pointer", "i8"),  # malloc'ed bytes that the socket did not take.
        ("carry_pointer", "i8"),  # malloc'ed bytes of an unfinished frame.
        ("rest_start", "u4"),
        ("rest_end", "u4"),
        ("carry_bytes", "u4"),
        ("rest_frames", "u4"),  # Placements in the rest.
        ("sequence", "u4"),  # Placements of the batches written so far.
        ("batch_count", "u4"),  # Placements in the batch.
        ("probe_first", "u4"),  # Its queue of probes, rows of `probes`; 0: none.
        ("probe_waiting", "u4"),  # The first one without an answer.
        ("probe_last", "u4"),
        ("dropped", "u4"),  # As of the last THROTTLED.
        ("epoch", "u4"),  # The epoch that `send_next_ns` lies in.
        ("fd", "i4"),
        ("state", "i4"),  # The canvas it sees: index into `states`.
        ("group", "i4"),  # The region it watches: index into `groups`.
        ("phase", "u1"),
        ("fenced", "u1"),  # Messages before the PONG of `ping_nonce` belong to the previous subscription.
        ("greedy", "u1"),
        ("viewer", "u1"),
        ("seen", "u1"),  # Received its SNAPSHOT.
        ("writable_armed", "u1"),  # EPOLLOUT is registered.
        ("slow", "u1"),  # Subscribes and then never reads.
        ("stalled", "u1"),  # Neither reads nor sends, until a fault ends.
        ("timed", "u1"),  # The batch's times are in `times`; otherwise they are periodic and derive from the last.
        ("number", "i8"),  # Connection number from HELLO; over a memory link, counted from 1. 0: not known yet.
    ],
    align=True,
)

SETTINGS = np.dtype(
    [
        ("seed", "u8"),
        ("mask_word", "u8"),  # Random state of masks and probe times.
        ("nonce", "u8"),  # Of the last PING sent.
        ("started_ns", "i8"),  # First intended send time.
        ("stop_ns", "i8"),  # No placement is intended after this.
        ("probe_gap", "i8"),  # The next probe is that many batches ahead.
        ("probe_mean", "i8"),  # Mean of such gaps when it was drawn; 0: none was drawn yet.
        ("probe_free", "i8"),  # First of the free rows of `probes`, linked by `next`; 0: none.
        ("probe_free_count", "i8"),
        ("device_count", "u4"),
        ("width", "u4"),
        ("height", "u4"),
        ("scatter_bits", "u4"),  # See `patterns.scatter_bits`.
        ("frames_per_write", "u4"),
        ("epoch", "u4"),  # The current one.
        ("interval_ms", "u4"),  # Sent in each SUBSCRIBE.
        ("brake_ns", "u4"),  # Extra time that each DELTA costs a viewer.
        ("arrivals", "u1"),
        ("pattern", "u1"),
        ("region", "u1"),
        ("states_a_group", "u4"),
        ("frames_a_group", "u4"),
        ("stamp", "u8"),  # Counts the frames that viewers of regions have learned.
        ("followed", "i8"),  # Number of the device whose batches are all probed and noted as journeys; -1: none.
        ("brush_x0", "i8"),  # Tiles whose latency is also counted on its own, half open.
        ("brush_y0", "i8"),
        ("brush_x1", "i8"),
        ("brush_y1", "i8"),
    ],
    align=True,
)

# A batch whose latency is measured. See `probes`.
PROBE = np.dtype(
    [
        ("nonce", "u8"),  # Of the PING behind the batch, or the number of its block.
        ("sent_ns", "i8"),
        ("pixel", "i8"),  # Of the batch's last placement, y * width + x.
        ("weight", "i8"),  # Number of batches that it stands for; 0: it is for its journey alone.
        ("device", "u4"),
        ("tick", "u4"),  # Its answer: later ticks show it.
        ("count", "u4"),  # Placements in the batch.
        ("next", "u4"),  # The next one in the queue, or among the free rows; 0: none.
        ("color", "u1"),
    ],
    align=True,
)

# Parameters of all schedules between two changes.
EPOCH = np.dtype(
    [
        ("end_ns", "i8"),  # Placements after it belong to the next epoch; NEVER_NS in the current one.
        ("interval_ns", "i8"),  # Mean time between a device's placements; 0: there are none.
        ("greedy_interval_ns", "i8"),  # The same of a greedy device.
        ("greedy_count", "i8"),  # Greedy devices
        ("device_count", "i8"),  # among this many.
        ("burst_ratio", "f8"),
        ("arrivals", "u1"),
    ],
    align=True,
)

# Viewers that watch one region, in pixels: it begins at a tile's corner and ends at one, or at the canvas's edge. A
# group owns a fixed number of rows in `Arrays.states` and `frames`; its first state is no canvas.
GROUP = np.dtype([("x", "i4"), ("y", "i4"), ("width", "i4"), ("height", "i4")], align=True)

FRAME = np.dtype(
    [
        ("pointer", "i8"),  # The payload's bytes, owned by the viewer table.
        ("used", "u8"),  # Stamp of the last use.
        ("size", "u4"),
        ("tick", "u4"),
    ],
    align=True,
)

STATE = np.dtype(
    [
        ("used", "u8"),  # Stamp of the last use.
        ("holders", "u4"),  # Viewers that see this canvas now.
        ("branch_next", "u4"),  # The branch to replace next.
    ],
    align=True,
)

BRANCH = np.dtype(
    [
        ("frame", "i4"),  # Index of the frame, or -1.
        ("state", "i4"),  # The state after it.
        ("pixel_count", "u4"),  # Pixel changes that it delivers to a viewer in this state.
        ("op", "u4"),
    ],
    align=True,
)

# Where the socket pass stopped; it resumes there when Python has handled the verdict.
CURSOR = np.dtype(
    [
        ("start", "i8"),  # Bytes not decoded yet: [start, end) of the arena.
        ("end", "i8"),
        ("message", "i8"),  # Offset of the message that caused an UNKNOWN or VIOLATION, and
        ("size", "i8"),  # its length.
        ("frame_bytes_max", "i8"),  # A longer message breaks the protocol.
        ("device", "i4"),  # Owner of the bytes in the arena, or -1.
        ("subject", "i4"),  # Device of the last verdict.
        ("failure", "i4"),  # errno of an ENDED, 0 at a clean end.
        ("epoll_fd", "i4"),
        ("event_index", "u4"),  # Next ready socket to serve.
        ("event_count", "u4"),
        ("write_index", "i8"),  # The device at which writing resumes.
        ("scanned_ns", "i8"),  # Time of the last scan of `due_ns`.
        ("next_ns", "i8"),  # When the next device is due by that scan; <= scanned_ns: some are due already.
        ("braked_ns", "i8"),  # Brake time that viewers owe for DELTAs already read.
    ],
    align=True,
)

# Contents of a block of a memory link, and where the next one resumes.
FILL = np.dtype(
    [
        ("write_index", "i8"),  # The device at which writing resumes.
        ("segment_count", "i8"),  # Writes in the block.
        ("size", "i8"),  # Bytes in it.
        ("frame_count", "i8"),  # Placements in it.
        ("next_ns", "i8"),  # When to write next; NEVER_NS when nothing is scheduled.
        ("serial", "i8"),  # Number of the block, from 1: the nonce of its probes.
    ],
    align=True,
)

assert DEVICE.itemsize == 152
assert CURSOR.itemsize == 96
assert EPOCH.itemsize == 56
assert FILL.itemsize == 48
assert PROBE.itemsize == 56


class Arrays(NamedTuple):
    """A fleet of n devices with f frames a write, on a canvas of height x width. See `new_arrays`."""

    devices: NDArray[Any]  # (n,) DEVICE
    due_ns: NDArray[Any]  # (n,) i8: when to write, or NEVER_NS.
    times: NDArray[Any]  # (n, f) i8: intended times of the batch, where it is `timed`; unused otherwise.
    probes: NDArray[Any]  # (PROBES_MAX,) PROBE. Row 0 is none.
    probe_times: NDArray[Any]  # (PROBES_MAX, f) i8: intended times of each probed batch.
    epochs: NDArray[Any]  # (EPOCHS_MAX,) EPOCH: a ring, number e in row e % EPOCHS_MAX.
    settings: NDArray[Any]  # (1,) SETTINGS
    counters: NDArray[Any]  # (1,) server.kernels.layout.FLEET, on the page of the fleet.
    latency: NDArray[Any]  # (HISTOGRAM_BUCKETS,) i8, microseconds.
    latency_max_us: NDArray[Any]  # (1,) i8
    brushed_latency: NDArray[Any]  # As `latency`, for placements in the brushed tiles.
    brushed_latency_max_us: NDArray[Any]  # (1,) i8
    tile_latency: NDArray[Any]  # (TILES_MAX,) server.kernels.layout.TILE_LATENCY
    journeys: NDArray[Any]  # (JOURNEY_ROWS,) FLEET_JOURNEY: a ring, for the followed device.
    journey_head: NDArray[Any]  # (1,) i8: total journeys noted.
    lateness: NDArray[Any]  # (HISTOGRAM_BUCKETS,) i8, microseconds.
    lateness_max_us: NDArray[Any]  # (1,) i8
    board: NDArray[Any]  # (height, width) u1: the current generation of life, as colours; (1, 1) for other patterns.
    ridges: NDArray[Any]  # (RIDGES, width) f4: skylines of the picture's mountains, 0 top to 1 bottom.
    groups: NDArray[Any]  # (groups,) GROUP: a single one, the whole canvas, unless viewers watch regions.
    frames: NDArray[Any]  # (groups * frames a group,) FRAME
    states: NDArray[Any]  # (groups * states a group,) STATE
    branches: NDArray[Any]  # (groups * states a group, BRANCHES) BRANCH
    payloads: NDArray[Any]  # (frames, bytes) u1: payloads of frames of regions; (1, 1) for the whole canvas.
    regions: NDArray[Any]  # (states, side, side) u1: pixels of region states; (1, 1, 1) for the whole canvas.


EVENTS_MAX = 4096
# Size of one recv: many frames at once, and still within the processor's cache.
READ_BYTES_MAX = 256 * 1024


class PollState(NamedTuple):
    """State of the socket pass beside `Arrays`. See `devices.sockets.dialer`."""

    cursor: NDArray[Any]  # (1,) CURSOR
    arena: NDArray[Any]  # (frame_bytes_max + READ_BYTES_MAX,) u1: bytes of one socket at a time.
    outgoing: NDArray[Any]  # (WRITE_BYTES_MAX,) u1: one write.
    words: NDArray[Any]  # (WRITE_BYTES_MAX / 4,) u4: the same memory.
    events: NDArray[Any]  # (EVENTS_MAX * EVENT_BYTES + 16,) u1: `struct epoll_event`s, the last one for epoll_ctl.
    device_of_fd: NDArray[Any]  # (descriptors,) i4: -1 where there is none.
