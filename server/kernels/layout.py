"""Every dtype and array shape that a kernel or another process sees. Imports no compiler.

Arrays are plain C-ordered numpy arrays. Times are int64 nanoseconds of CLOCK_MONOTONIC. Counters only grow, have one
writer and are eight bytes wide, so a reader in another process needs no lock: a difference of two readings is always a
true count. They are signed, since a kernel that adds signed to unsigned gets a float. All records are aligned; the
asserts below hold the layout that `LAYOUT_VERSION` names.
"""

from enum import IntEnum

import numpy as np

from server.wire import DELTA, SERVER_HEAD_BYTES_MAX

LAYOUT_VERSION = 4


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
    """State of a process of a session; `state` in SERVER and FLEET."""

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
        ("busy_ns", "i8"),  # Service time so far, without waiting.
        ("batch_count", "i8"),
        ("item_count", "i8"),  # Items served.
        ("depth", "i8"),  # Items waiting in front of the stage when it last began a batch.
        ("depth_peak", "i8"),  # The most that waited since the last tick.
        ("depth_sum", "i8"),  # Sum of `depth` over all batches: mean depth = depth_sum / batch_count.
        ("depth_max", "i8"),  # The limit of the queue in front, in the same items.
        ("drop_count", "i8"),  # Items given up in front of this stage, for whatever reason.
    ],
    align=True,
)
"""Items, by stage: handshakes, ready sockets, bytes, messages, placements, ticks, tiles, connections owed a delta."""

LOOP = np.dtype(
    [
        ("connection_count", "i8"),  # Open WebSocket connections now.
        ("subscriber_count", "i8"),  # Of these, watching.
        ("accepted_count", "i8"),  # Sockets accepted since the start.
        ("closed_count", "i8"),  # Sockets closed since the start, by either side.
        ("evicted_count", "i8"),  # Of these, closed by us: stalled, over the limit too long.
        ("protocol_error_count", "i8"),
        ("received_count", "i8"),  # Placements decoded.
        ("admitted_count", "i8"),  # Placements that passed bounds and bucket.
        ("throttled_count", "i8"),  # Refused for rate.
        ("shed_count", "i8"),  # Refused for overload.
        ("out_of_bounds_count", "i8"),
        ("applied_count", "i8"),  # Placements written to the canvas.
        ("read_count", "i8"),  # recv calls that brought bytes.
        ("received_bytes", "i8"),
        ("send_count", "i8"),
        ("sent_bytes", "i8"),
        ("delta_count", "i8"),  # DELTA frames handed to the kernel.
        ("delta_bytes", "i8"),
        ("delta_pixel_count", "i8"),  # Pixel changes in these, summed over connections.
        ("conflated_count", "i8"),  # DELTA frames made for one viewer that lagged.
        ("snapshot_count", "i8"),
        ("handover_count", "i8"),  # Times that bytes went to the slow path.
        ("outbox_bytes", "i8"),  # Held now for sockets that did not take them.
        ("cpu_ns", "i8"),  # Processor time of the loop's thread.
        ("crowded_out_count", "i8"),  # Sockets closed at once: their address had too many connections already.
        ("hurried_out_count", "i8"),  # Likewise: their address opened too many a second.
        ("deflated_count", "i8"),  # Open connections that may compress now.
        ("ignored_count", "i8"),  # Publications that were retained before the bridge came, or of topics it has not.
    ],
    align=True,
)

SERVER = np.dtype(
    [
        ("state", "i8"),
        ("process_id", "i8"),
        ("heartbeat_ns", "i8"),  # When the page was last written.
        ("cpu_ns", "i8"),  # Processor time of the process.
        ("resident_bytes", "i8"),
        ("tick", "i8"),  # The last finished tick.
        ("tick_interval_ns", "i8"),  # As it is now, stretched or not.
        ("tick_stretch_count", "i8"),  # Times the interval grew because a broadcast did not fit.
        ("merged_count", "i8"),  # Distinct pixel changes in the deltas of all ticks.
        ("encoded_bytes", "i8"),
        ("ledger_gap", "i8"),  # Placements that the last tick's ledger could not account for. Anything but 0 is a bug.
        ("port", "i8"),
        ("journal_state", "i8"),  # A JournalState of server/journal/fault.
        ("journal_trouble", "i8"),  # A DiskError of it: why the newest commit failed; 0: it did not.
        ("journal_gates", "i8"),  # 1: nothing is sent before it is on disk.
        ("journal_tick", "i8"),  # The last tick with changes that is on disk.
        ("tls_failed_count", "i8"),  # TLS handshakes that failed, or did not come in time.
    ],
    align=True,
)

TICK = np.dtype(
    [
        ("tick", "i8"),
        ("start_ns", "i8"),
        ("lateness_ns", "i8"),  # Behind the time it was due.
        ("interval_ns", "i8"),  # Since the start of the tick before.
        ("encode_ns", "i8"),
        ("tile_count", "u4"),
        ("pixel_count", "u4"),  # Merged: distinct pixel changes.
        ("frame_bytes", "u4"),  # The whole-canvas frame as sent.
        ("encoding", "u4"),  # 0 as it is, 1 zlib.
        ("admitted_count", "i8"),  # Of all loops, since the start.
        ("in_flight_count", "i8"),  # Waiting in the queues: received, not yet applied or refused.
        ("depth_peak", "u4", (STAGE_COUNT,)),  # The most that waited before each stage since the tick before.
    ],
    align=True,
)
# Rows of the tick ring: row of tick t is t % TICK_ROWS. Written before `SERVER.tick` names it.
TICK_ROWS = 4096


# --- The telemetry page of a fleet ----------------------------------------------------------------------------------

FLEET = np.dtype(
    [
        ("state", "i8"),
        ("process_id", "i8"),
        ("heartbeat_ns", "i8"),
        ("cpu_ns", "i8"),
        ("resident_bytes", "i8"),
        ("started_ns", "i8"),  # First intended send time; 0 before.
        ("device_count", "i8"),  # Devices of the scenario.
        ("connection_count", "i8"),  # Connections open now.
        ("subscriber_count", "i8"),  # Of these, have had their SNAPSHOT.
        ("offered_count", "i8"),  # Placements whose intended send time has come.
        ("sent_count", "i8"),  # Placements whose frame the kernel has taken.
        ("write_count", "i8"),  # send calls.
        ("sent_bytes", "i8"),
        ("blocked_count", "i8"),  # Writes that the socket did not take whole.
        ("received_bytes", "i8"),
        ("delta_count", "i8"),
        ("delta_pixel_count", "i8"),  # Delivered: pixel changes in the deltas received, summed over viewers.
        ("snapshot_count", "i8"),
        ("throttled_count", "i8"),  # Reported by THROTTLED: dropped for rate.
        ("shed_count", "i8"),
        ("out_of_bounds_count", "i8"),
        ("lost_count", "i8"),  # Connections that ended unexpectedly.
        ("refused_count", "i8"),  # Connections that never opened.
        ("protocol_error_count", "i8"),  # Bytes from the server that break protocol.md.
        ("viewer_checked_count", "i8"),  # Viewers compared with the server's canvas at the end.
        ("viewer_wrong_count", "i8"),  # Of these, those that differ.
        ("churned_count", "i8"),  # Connections that the fleet closed itself to reopen them.
        ("cut_count", "i8"),  # Connections that a fault cut.
        ("reconnected_count", "i8"),  # Connections opened again after either, or after a loss.
        ("stalled_count", "i8"),  # Devices that a fault holds still now.
        ("abandoned_count", "i8"),  # Offered and never sent, because the device's connection ended first.
    ],
    align=True,
)

TILE_LATENCY = np.dtype([("sum_us", "i8"), ("count", "i8")], align=True)
"""Placement-to-view latency of what the probes placed in one tile, so far."""

FLEET_JOURNEY = np.dtype(
    [
        ("number", "i8"),  # Connection number from HELLO.
        ("pixel", "i8"),  # Of the batch's last placement, y * width + x.
        ("intended_ns", "i8"),
        ("sent_ns", "i8"),
        ("seen_ns", "i8"),
        ("tick", "i8"),  # Of the DELTA that showed it.
    ],
    align=True,
)
"""One probed batch of the followed device, from its end of the wire."""
# Rows of the rings of journeys, here and at the server: row of journey n is n % JOURNEY_ROWS.
JOURNEY_ROWS = 256

HISTOGRAM_OCTAVES = 34
# Log-linear buckets over microseconds: exact to 63, then 32 an octave (at most 3.2 % wide); see kernels/histogram.
HISTOGRAM_BUCKETS = 64 + 32 * HISTOGRAM_OCTAVES
HISTOGRAM = np.dtype("i8")


# --- Inside a loop --------------------------------------------------------------------------------------------------


class Phase(IntEnum):
    """State of a connection slot."""

    FREE = 0
    SLOW = 1  # Bytes go to the Python `Connection`: handshake, fragment, control frame, closing.
    FAST = 2  # Bytes go through the compiled decoder.
    DEAD = 3  # The socket failed or ended; the loop's Python side is to close it.


# Bytes of an unfinished frame that the fast path keeps by itself; a longer rest takes the slow path.
CARRY_BYTES = 64

CONNECTION = np.dtype(
    [
        ("fd", "i4"),
        ("phase", "u1"),
        ("subscribed", "u1"),
        ("writable_armed", "u1"),  # EPOLLOUT is asked for.
        ("reading_paused", "u1"),  # Its outbox is above the high-water mark: we do not read from it.
        ("number", "i8"),  # Unique since the start; HELLO tells it.
        ("cursor", "i8"),  # The tick up to which this connection has all changes.
        ("tile_x0", "u2"),  # Subscribed tiles, half open.
        ("tile_y0", "u2"),
        ("tile_x1", "u2"),
        ("tile_y1", "u2"),
        ("carry_bytes", "u2"),
        ("blocked", "u1"),  # Its socket took nothing when a delta was tried.
        ("closing", "u1"),  # Close it as soon as the outbox is empty.
        ("in_arena", "u1"),  # Its last read is not decoded yet: no more is read until then, for its rest comes first.
        ("interval_ns", "i8"),
        ("due_ns", "i8"),  # When the next delta is due; it goes with the tick that is nearest to this.
        ("full_ns", "i8"),  # Token bucket: when it will be full again (see kernels/admit).
        ("over_ns", "i8"),  # When it was last over the limit.
        ("over_since_ns", "i8"),  # Over the limit without a second's pause since; 0: not.
        ("progress_ns", "i8"),  # When the peer last took bytes, or last owed us nothing.
        ("outbox_pointer", "i8"),  # malloc'ed private bytes that go out before any further delta.
        ("outbox_start", "i8"),
        ("outbox_end", "i8"),
        ("outbox_size", "i8"),
        ("dropped_reported", "i8"),  # `dropped` of the last THROTTLED.
        ("reported_ns", "i8"),
        ("received_count", "i8"),
        ("admitted_count", "i8"),
        ("throttled_count", "i8"),
        ("shed_count", "i8"),
        ("out_of_bounds_count", "i8"),
        ("delta_count", "i8"),
        ("opened_ns", "i8"),
        ("received_bytes", "i8"),
        ("sent_bytes", "i8"),
    ],
    align=True,
)

assert CONNECTION.itemsize == 208


class Kind(IntEnum):
    """What a record of the message and placement queues is."""

    PLACE = 0
    REQUEST = 1  # SUBSCRIBE or PING; `index` points into the request array.


MESSAGE = np.dtype(
    [
        ("slot", "i4"),
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
        ("pixel", "i4"),  # y * width + x.
        ("slot", "i4"),
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
        ("slot", "i4"),
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
# Requests waiting at once in a loop; a full array stops the decoder until they are answered.
REQUESTS_MAX = 4096

SEGMENT = np.dtype([("slot", "i4"), ("start", "i4"), ("end", "i4"), ("reason", "i4")], align=True)
"""Bytes of one connection in the arena: [start, end). `reason` is a `Reason` when handed over."""


class Reason(IntEnum):
    """Why a connection is handed to the slow path."""

    BYTES = 0  # [start, end) of the arena are for the Python `Connection`.
    ENDED = 1  # The peer ended the stream, or the socket failed.
    STALLED = 2  # Took no bytes for too long.
    OVER_LIMIT = 3  # Over its rate limit for too long.
    FLUSHED = 4  # Its outbox is empty and it was to be closed then.


class Source(IntEnum):
    """Which bytes a frame for one connection stands in."""

    SHARED = 0  # The broadcast's.
    CONFLATED = 1  # `conflated`: the whole canvas, for viewers that lag.
    OWN = 2  # `scratch`: made for this connection.


class Wake(IntEnum):
    """Bits of what a compiled loop returns: why Python is needed."""

    TICK = 1  # The time is up.
    ACCEPT = 2  # The listener is ready.
    SIGNAL = 4  # Another thread rang.
    HANDOVER = 8  # `handovers` holds something.
    SUBSCRIBE = 16  # The placement queue stands at a SUBSCRIBE.


QUEUES = np.dtype(
    [
        ("arena_end", "i8"),  # Bytes used of the arena.
        ("segment_head", "i8"),
        ("segment_end", "i8"),
        ("message_head", "i8"),
        ("message_end", "i8"),
        ("placement_head", "i8"),
        ("placement_end", "i8"),
        ("request_head", "i8"),  # Requests ever answered,
        ("request_end", "i8"),  # and ever queued: request n is at n % REQUESTS_MAX.
        ("handover_count", "i8"),
        ("slot_end", "i8"),  # One past the highest slot in use.
        ("fanout_position", "i8"),  # Slots of this sweep that have had their turn.
        ("fanout_first", "i8"),  # Slot at which this sweep began; another one each tick, to be fair.
        ("tick_ns", "i8"),  # How far apart sweeps begin at present.
        ("conflation_next", "i8"),  # The conflation that is overwritten by the next.
        ("patrol_ns", "i8"),  # When the next patrol is due.
        ("poll_ns", "i8"),  # When the sockets were last looked at.
        ("read_first", "i8"),  # Sockets ever found ready: the first of them is another one each time, to be fair.
    ],
    align=True,
)
"""Heads and ends of a loop's queues. Each is a plain array filled from 0; what waits long is moved to its front."""

ARRIVAL = np.dtype([("slot", "i8"), ("start", "i8"), ("end", "i8")], align=True)
"""Bytes that a portable loop received: [start, end) of the arena, with room for a carry before them."""

OFFER = np.dtype(
    [
        ("slot", "i8"),
        ("source", "i8"),  # Source of the frame,
        ("start", "i8"),  # from here
        ("end", "i8"),  # to here.
        ("pixel_count", "i8"),
        ("taken", "i8"),  # Bytes that the socket took; -1: it failed.
    ],
    align=True,
)
"""A frame that a portable loop is to send, and what became of it."""

RULES = np.dtype(
    [
        ("token_ns", "i8"),  # Time to refill one token.
        ("burst_ns", "i8"),  # Time to refill the whole bucket.
        ("stall_ns", "i8"),
        ("evict_ns", "i8"),  # 0: never.
        ("width", "i8"),
        ("height", "i8"),
        ("tiles_across", "i8"),
        ("tiles_down", "i8"),
        ("tick_next", "i8"),  # The tick that will carry what is applied now.
        ("followed", "i8"),  # Number of the connection whose journeys are noted; -1: none.
    ],
    align=True,
)
"""What the stages go by; written between steps only."""

BRAKE = np.dtype([("item_ns", "i8"), ("batch_ns", "i8")], align=True)
"""Service time that is added to a stage, for teaching: so much an item, and so much a batch."""

TILE = np.dtype(
    [
        ("applied_count", "i8"),  # Placements written to the tile.
        ("merged_count", "i8"),  # Of these, distinct pixel changes that ticks broadcast; the rest were overwritten.
        ("throttled_count", "i8"),  # Refused for rate.
        ("merged_tick", "i8"),  # The last tick that broadcast it.
    ],
    align=True,
)
"""What became of the placements in one tile, since the start."""

JOURNEY = np.dtype(
    [
        ("number", "i8"),  # Of the connection.
        ("read_ns", "i8"),  # When each stage was done with the read that brought the batch.
        ("decoded_ns", "i8"),
        ("admitted_ns", "i8"),
        ("applied_ns", "i8"),
        ("tick", "i8"),  # The tick that carried it,
        ("journaled_ns", "i8"),  # when that was on disk; 0 without a journal,
        ("encoded_ns", "i8"),  # encoded,
        ("sent_ns", "i8"),  # and taken by this connection's socket; 0 while it was not.
        ("placement_count", "i8"),
        ("pixel", "i8"),  # Of the last placement, y * width + x; -1 when none was admitted.
    ],
    align=True,
)
"""One read of the followed connection, through the stages."""
# Rows of the ring of messages last decoded from the followed connection.
FOLLOWED_MESSAGES = 64

BROADCAST = np.dtype(
    [
        ("since", "i8"),  # The newest frame holds all changes after this tick,
        ("tick", "i8"),  # up to this one.
        ("frame_start", "i8"),  # The whole-canvas frame in `bytes`, WebSocket header included.
        ("frame_end", "i8"),
        ("encoding", "i8"),  # 0: its blocks as they are; 1: zlib.
        ("pixel_count", "i8"),
        ("tile_count", "i8"),
    ],
    align=True,
)

assert MESSAGE.itemsize == 12
assert PLACEMENT.itemsize == 16
assert REQUEST.itemsize == 24
assert SEGMENT.itemsize == 16
assert RULES.itemsize == 80

# High-water mark of an outbox: above it we stop reading from the connection, so that answers cannot pile up.
HELD_BYTES_MAX = 64 * 1024
# Low-water mark: below it we read again.
HELD_BYTES_RESUME = 16 * 1024

# Bytes before the first tile block: the longest server frame header and the head of DELTA.
HEAD_ROOM = SERVER_HEAD_BYTES_MAX + DELTA.size

# Marks in `slot_of_fd` of what is no connection: the listener, and the descriptor that wakes the loop.
LISTENER, WAKEUP = -2, -3

# Most that one connection is read at once, so that a fast sender does not fill the arena alone.
READ_BYTES_MAX = 16 * 1024
# Frames offered before the sockets are looked at again: about a millisecond.
SENDS_A_STEP = 256
# How often all connections are looked at for drops to report and for peers that stall.
PATROL_NS = 100_000_000


def stage_names() -> list[str]:
    """The stages' names as shown, in their order."""
    return [stage.name.lower().replace("fanout", "fan-out") for stage in Stage]
