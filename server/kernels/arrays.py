"""The arrays that kernels share, in groups, and their sizes. Their records are those of `layout`.

A kernel is passed whole groups. Imports no compiler. Queue sizes are decided here only: kernels ask an array for its
length.

Records that only loops use are defined here too. Journeys are numbered upwards, row of journey n is n % JOURNEY_ROWS;
journeys from `first` up to `end` belong to this loop and are not over. A stage whose HOLD has items != 0 has taken them
up and not served them yet. The frame of conflation n is the n-th part of `conflated`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.kernels.layout import (
    BROADCAST,
    CARRY_BYTES,
    CONNECTION,
    FOLLOWED_MESSAGES,
    HEAD_ROOM,
    JOURNEY,
    JOURNEY_ROWS,
    MESSAGE,
    PLACEMENT,
    QUEUES,
    REQUEST,
    REQUESTS_MAX,
    SEGMENT,
    STAGE_COUNT,
    Stage,
)
from server.wire import FULL_BLOCK_BYTES

FOLLOWING = np.dtype(
    [
        ("slot", "i8"),  # Slot of the followed connection.
        ("first", "i8"),  # The oldest journey that is not over,
        ("end", "i8"),  # one past the newest, and
        ("read_end", "i8"),  # one past the newest that is decoded.
        ("received_count", "i8"),  # Placements of the connection that belong to older journeys.
        ("admitted_count", "i8"),  # The connection's count at the last check.
        ("refused_count", "i8"),  # The same.
    ],
    align=True,
)

MARK = np.dtype(
    [
        ("read_count", "i8"),  # Decoded once the loop has decoded this many reads,
        ("received_count", "i8"),  # admitted once it has judged this many placements of the connection,
        ("admitted_count", "i8"),  # applied once it has applied this many placements in all.
    ],
    align=True,
)
"""When a journey reaches its next stage, in counts that are valid at any queue position."""


HOLD = np.dtype(
    [
        ("until_ns", "i8"),  # The stage is held back until then.
        ("items", "i8"),  # Number of items that it then serves; 0: none.
        ("cost_ns", "i8"),  # Their added service time.
        ("left", "i8"),  # Items still waiting after the last step.
        ("debt_ns", "i8"),  # Service time carried over to the next step.
    ],
    align=True,
)


# A frame shared by viewers that lack the same changes: they lag, or their interval is longer than a tick.
CONFLATION = np.dtype(
    [
        ("since", "i8"),  # Changes of the whole canvas after this tick,
        ("until", "i8"),  # up to this one,
        ("start", "i8"),  # as a frame from here
        ("end", "i8"),  # to here of `conflated`,
        ("pixel_count", "i8"),
    ],
    align=True,
)
# Frames kept at once: viewers with different intervals and cursors come in any order, and encoding a frame for each
# costs more than sending it.
CONFLATIONS = 8


class CanvasArrays(NamedTuple):
    """The canvas as the stages see it. All loops apply to it; it is encoded between their steps."""

    pixels: NDArray[np.uint8]
    """Shape (height * width,)."""
    pixel_tick: NDArray[np.uint32]
    """Shape (height * width,): the tick that carried, or will carry, the pixel's last change. 0: never changed."""
    tile_tick: NDArray[np.uint32]
    """Shape (tiles,): the newest of its pixels' ticks."""
    rules: NDArray[np.void]
    """Shape (1,), RULES."""
    pixel_painter: NDArray[np.uint32]
    """Shape (height * width,): number of the connection that last painted the pixel, plus one. 0: none."""
    tiles: NDArray[np.void]
    """Shape (tiles,), TILE."""
    brakes: NDArray[np.void]
    """Shape (STAGE_COUNT,), BRAKE. Written between steps only, as the rules are."""


class BroadcastArrays(NamedTuple):
    """The newest tick as frames. Written while no loop runs, read by all loops."""

    head: NDArray[np.void]
    """Shape (1,), BROADCAST."""
    bytes: NDArray[np.uint8]
    """Room for a frame of every tile, twice: as encoded, and compressed."""
    block_start: NDArray[np.int64]
    """Shape (tiles + 1,): where each tile's block stands in `bytes`; as long as to the next tile's start."""
    block_pixels: NDArray[np.int64]
    """Shape (tiles,): pixel changes in each tile's block."""
    shown: CanvasArrays
    """What frames for one connection are made from: the canvas itself, or a copy of it as it may be shown."""


class LoopArrays(NamedTuple):
    """One loop's connections and queues. Only that loop's thread touches them, but for the telemetry rows."""

    connections: NDArray[np.void]
    """Shape (slots,), CONNECTION."""
    carry: NDArray[np.uint8]
    """Shape (slots, CARRY_BYTES)."""
    slot_of_fd: NDArray[np.int32]
    """Shape (open-file limit,): LISTENER, WAKEUP, or -1 for what is not watched."""
    events: NDArray[np.uint8]
    """Room for `epoll_wait`."""
    arena: NDArray[np.uint8]
    segments: NDArray[np.void]
    handovers: NDArray[np.void]
    """Shape (segments + slots,), SEGMENT: what Python is to look at."""
    messages: NDArray[np.void]
    placements: NDArray[np.void]
    requests: NDArray[np.void]
    scratch: NDArray[np.uint8]
    """Room for one DELTA frame made for one connection."""
    conflated: NDArray[np.uint8]
    """Room for CONFLATIONS DELTA frames of the whole canvas."""
    conflations: NDArray[np.void]
    """Shape (CONFLATIONS,), CONFLATION: what `conflated` holds, an equal part of it each."""
    queues: NDArray[np.void]
    """Shape (1,), QUEUES."""
    counts: NDArray[np.void]
    """Shape (1,), LOOP: this loop's row of the telemetry page."""
    stages: NDArray[np.void]
    """Shape (STAGE_COUNT,), STAGE: this loop's rows of the telemetry page."""
    holds: NDArray[np.void]
    """Shape (STAGE_COUNT,), HOLD: what the brakes hold back."""
    following: NDArray[np.void]
    """Shape (1,), FOLLOWING."""
    marks: NDArray[np.void]
    """Shape (JOURNEY_ROWS,), MARK."""
    journeys: NDArray[np.void]
    """Shape (JOURNEY_ROWS,), JOURNEY: a ring that all loops share, of which one at a time writes."""
    journey_head: NDArray[np.int64]
    """Shape (1,): journeys ever begun."""
    followed_messages: NDArray[np.void]
    """Shape (FOLLOWED_MESSAGES,), MESSAGE: a ring, shared alike."""
    message_head: NDArray[np.int64]
    """Shape (1,): messages ever kept."""


ARENA_BYTES = 1 << 20
SEGMENTS_MAX = 8192
# More than an arena of the smallest frames (12 bytes) can hold, so that decoding rarely stops half way.
MESSAGES_MAX = 1 << 17


def new_loop_arrays(
    slots: int, descriptors: int, tiles: int, counts: NDArray[np.void], stages: NDArray[np.void]
) -> LoopArrays:
    """Empty arrays for one loop; `counts` and `stages` are its rows of the telemetry page."""
    frame_bytes = HEAD_ROOM + tiles * FULL_BLOCK_BYTES
    arrays = LoopArrays(
        connections=np.zeros(slots, CONNECTION),
        carry=np.zeros((slots, CARRY_BYTES), np.uint8),
        slot_of_fd=np.full(descriptors, -1, np.int32),
        events=np.zeros((slots + 1024) * 16, np.uint8),
        arena=np.zeros(ARENA_BYTES, np.uint8),
        segments=np.zeros(SEGMENTS_MAX, SEGMENT),
        handovers=np.zeros(SEGMENTS_MAX + 2 * slots, SEGMENT),
        messages=np.zeros(MESSAGES_MAX, MESSAGE),
        placements=np.zeros(MESSAGES_MAX, PLACEMENT),
        requests=np.zeros(REQUESTS_MAX, REQUEST),
        scratch=np.zeros(frame_bytes, np.uint8),
        conflated=np.zeros(CONFLATIONS * frame_bytes, np.uint8),  # Memory that is never written costs nothing.
        conflations=np.zeros(CONFLATIONS, CONFLATION),
        queues=np.zeros(1, QUEUES),
        counts=counts,
        stages=stages,
        holds=np.zeros(STAGE_COUNT, HOLD),
        following=np.zeros(1, FOLLOWING),
        marks=np.zeros(JOURNEY_ROWS, MARK),
        journeys=np.zeros(JOURNEY_ROWS, JOURNEY),
        journey_head=np.zeros(1, np.int64),
        followed_messages=np.zeros(FOLLOWED_MESSAGES, MESSAGE),
        message_head=np.zeros(1, np.int64),
    )
    limits = {Stage.ACCEPT: 4096, Stage.READ: slots, Stage.DECODE: ARENA_BYTES, Stage.ADMIT: MESSAGES_MAX}
    limits |= {Stage.APPLY: MESSAGES_MAX, Stage.JOURNAL: 1, Stage.ENCODE: tiles, Stage.FANOUT: slots}
    for stage, limit in limits.items():
        stages[stage]["depth_max"] = limit
    return arrays


def new_broadcast_arrays(shown: CanvasArrays) -> BroadcastArrays:
    """An empty broadcast of this canvas."""
    tiles = len(shown.tile_tick)
    room = 2 * (HEAD_ROOM + tiles * FULL_BLOCK_BYTES)
    starts, pixels = np.zeros(tiles + 1, np.int64), np.zeros(tiles, np.int64)
    return BroadcastArrays(np.zeros(1, BROADCAST), np.zeros(room, np.uint8), starts, pixels, shown)
