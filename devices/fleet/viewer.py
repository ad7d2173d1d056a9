"""What viewers see: every canvas that some viewer holds, kept once, and which frame leads from which to which.

Viewers are in groups: those of the whole canvas are one, those that share a region are one each. A state is a canvas of
a group; the first state of each is no canvas. The compiled half (`kernels.viewer`) follows known branches from state
to state. This half teaches it a branch for a frame that is new to a state: it inflates, applies, and looks the result
up among the known canvases, so that viewers that came to the same picture in different ways share it again. What
viewers of regions see is kept by the compiled half.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.kernels import layout
from devices.kernels.layout import FRAMES_MAX, STATES_MAX, Arrays, Region, Verdict
from devices.kernels.patterns import home_pixel
from devices.kernels.regions import apply_blocks, learn
from server.protocol.messages import Snapshot, decode_server_message, read_body
from server.protocol.websocket import CloseCode, ProtocolViolation
from server.wire import BLOCK_BYTES_MAX, DELTA, SNAPSHOT, TILE_SIDE, ServerOp, tile_shape

# Limit of all canvases. A viewer for which there is no room is not checked until its next SNAPSHOT.
CANVAS_BYTES_MAX = 256 * 1024 * 1024
# Limit of all remembered frames.
FRAME_BYTES_MAX = 64 * 1024 * 1024


class ViewerTable:
    """The states and frames of a fleet's viewers, of a canvas of `width` x `height`."""

    def __init__(self, arrays: Arrays, width: int, height: int) -> None:
        self._arrays = arrays
        self._is_regional = int(arrays.settings["region"][0]) == Region.AROUND
        self._shape = (height, width)
        self._canvases: list[bytes | None] = [None] * STATES_MAX
        self._state_of: dict[bytes, int] = {}
        self._payloads: list[bytes | None] = [None] * FRAMES_MAX
        self._frame_of: dict[bytes, int] = {}
        self._frame_bytes = 0
        self._stamp = 0
        self._states_max = max(2, min(STATES_MAX, CANVAS_BYTES_MAX // max(width * height, 1)))

    def follow(self, arrays: Arrays) -> None:
        """Use these arrays, which have more devices and the same tables."""
        self._arrays = arrays

    def learn_transition(self, d: int, payload: bytes) -> None:
        """Teach where a SNAPSHOT or DELTA leads from the state of device `d`. Raises ProtocolViolation."""
        if self._is_regional:
            self._learn_region(d, payload)
            return
        self._stamp += 1
        state = int(self._arrays.devices["state"][d])
        self._arrays.states["used"][state] = self._stamp
        read = self._read_snapshot if payload[0] == ServerOp.SNAPSHOT else self._read_delta
        tick, canvas, pixel_count = read(state, payload)
        frame = self._frame(payload, tick)
        # Where all states are held, the viewer goes to state 0, and is not checked until its next SNAPSHOT.
        target = self._state(canvas, keep=state) if canvas is not None else 0
        arrays, row = self._arrays, self._arrays.states[state]
        branch = int(row["branch_next"])
        row["branch_next"] = (branch + 1) % arrays.branches.shape[1]
        arrays.branches[state, branch] = (frame, target, pixel_count, payload[0])

    def canvas(self, d: int) -> NDArray[np.uint8] | None:
        """What device `d` sees now: shape (height, width), uint8, read-only; None before its SNAPSHOT.

        A viewer of a region sees only that.
        """
        if self._is_regional:
            return self._region(int(self._arrays.devices["state"][d]))
        data = self._canvases[int(self._arrays.devices["state"][d])]
        return None if data is None else self._pixels(data)

    def check(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        """How many viewers hold a canvas, and how many of them one that differs from `pixels`, (height, width) u1.

        Of a region, only what belongs to it is compared.
        """
        if self._is_regional:
            return self._check_regions(pixels)
        expected = pixels.tobytes()
        holders = self._arrays.states["holders"]
        held = [(int(holders[s]), canvas) for s, canvas in enumerate(self._canvases) if canvas is not None]
        checked = sum(count for count, _ in held)
        return checked, sum(count for count, canvas in held if canvas != expected)

    def _learn_region(self, d: int, payload: bytes) -> None:
        """Inflate a message about a region, and have the compiled half learn it."""
        is_snapshot = payload[0] == ServerOp.SNAPSHOT
        head = SNAPSHOT if is_snapshot else DELTA
        if len(payload) < head.size:
            raise _fault(f"a message about a region of {len(payload)} bytes; its head alone has {head.size}")
        words = head.unpack_from(payload)
        limit = words[-2] * words[-1] if is_snapshot else words[2] * BLOCK_BYTES_MAX
        body = read_body("SNAPSHOT" if is_snapshot else "DELTA", words[1], payload[head.size :], limit)
        plain = head.pack(words[0], 0, *words[2:]) + body
        buffers = [np.frombuffer(bytearray(data), np.uint8) for data in (payload, plain)]
        verdict, _ = learn(self._arrays, d, buffers[0], 0, len(payload), buffers[1])
        if verdict != Verdict.DONE:
            raise _fault(f"a message about a region whose {len(body)} bytes cannot be read")

    def _region(self, state: int) -> NDArray[np.uint8] | None:
        group, place = divmod(state, int(self._arrays.settings["states_a_group"][0]))
        if place == 0:
            return None
        region = self._arrays.groups[group]
        pixels: NDArray[np.uint8] = self._arrays.regions[state, : region["height"], : region["width"]]
        return pixels

    def _check_regions(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        checked = wrong = 0
        holders = self._arrays.states["holders"]
        for state in np.flatnonzero(holders):
            seen = self._region(int(state))
            if seen is not None:
                group = self._arrays.groups[int(state) // int(self._arrays.settings["states_a_group"][0])]
                x, y, width, height = group.tolist()
                checked += int(holders[state])
                is_right = np.array_equal(seen, pixels[y : y + height, x : x + width])
                wrong += 0 if is_right else int(holders[state])
        return checked, wrong

    def _pixels(self, canvas: bytes) -> NDArray[np.uint8]:
        return np.frombuffer(canvas, np.uint8).reshape(self._shape)

    def _base(self, state: int) -> NDArray[np.uint8]:
        canvas = self._canvases[state]
        return np.zeros(self._shape, np.uint8) if canvas is None else self._pixels(canvas)

    def _read_snapshot(self, state: int, payload: bytes) -> tuple[int, bytes | None, int]:
        snapshot = decode_server_message(payload)
        assert isinstance(snapshot, Snapshot)
        x, y, width, height = snapshot.x, snapshot.y, snapshot.width, snapshot.height
        if x + width > self._shape[1] or y + height > self._shape[0]:
            raise _fault(f"a SNAPSHOT of {width} x {height} at {x}, {y} leaves the canvas")
        pixels = self._base(state).copy()
        pixels[y : y + height, x : x + width] = np.frombuffer(snapshot.pixels, np.uint8).reshape(height, width)
        return snapshot.tick, pixels.tobytes(), 0

    def _read_delta(self, state: int, payload: bytes) -> tuple[int, bytes | None, int]:
        if len(payload) < DELTA.size:
            raise _fault(f"a DELTA of {len(payload)} bytes; its head alone has {DELTA.size}")
        _, encoding, count, tick = DELTA.unpack_from(payload)
        body = read_body("DELTA", encoding, payload[DELTA.size :], count * BLOCK_BYTES_MAX)
        before = self._base(state)
        pixels = before.copy()
        changed = apply_blocks(pixels, before.copy(), np.frombuffer(bytearray(body), np.uint8), count)
        if changed < 0:
            raise _fault(f"a DELTA of tick {tick} whose {count} blocks cannot be read")
        return tick, None if self._canvases[state] is None else pixels.tobytes(), changed

    def _frame(self, payload: bytes, tick: int) -> int:
        """The index of a frame with these bytes. A new one takes a free place, or that of the least recently used."""
        frames = self._arrays.frames
        index = self._frame_of.get(payload)
        if index is None:
            # A dictionary keeps insertion order, so this drops the oldest frame first.
            while self._frame_bytes + len(payload) > FRAME_BYTES_MAX and self._frame_of:
                self._forget_frame(self._frame_of[next(iter(self._frame_of))])
            index = int(np.argmin(frames["used"]))
            self._forget_frame(index)
            self._payloads[index] = payload
            self._frame_of[payload] = index
            self._frame_bytes += len(payload)
            frames[index] = (np.frombuffer(payload, np.uint8).ctypes.data, self._stamp, len(payload), tick)
        frames["used"][index] = self._stamp
        return index

    def _forget_frame(self, index: int) -> None:
        payload = self._payloads[index]
        if payload is None:
            return
        branches: NDArray[Any] = self._arrays.branches
        branches["frame"][branches["frame"] == index] = -1  # Before the bytes that kernels compare with are freed.
        self._arrays.frames["used"][index] = 0
        del self._frame_of[payload]
        self._payloads[index] = None
        self._frame_bytes -= len(payload)

    def _state(self, canvas: bytes, keep: int) -> int:
        """The state of this canvas; a new one takes the place of one that no viewer holds. 0 if all are held."""
        index = self._state_of.get(canvas)
        if index is None:
            states = self._arrays.states[1 : self._states_max]
            idle = (states["holders"] == 0) & (np.arange(1, self._states_max) != keep)
            if not idle.any():
                return 0
            index = 1 + int(np.argmin(np.where(idle, states["used"], np.iinfo(np.uint64).max)))
            self._forget_state(index)
            self._canvases[index] = canvas
            self._state_of[canvas] = index
        self._arrays.states["used"][index] = self._stamp
        assert self._canvases[index] == canvas and index != 0, "state and canvas differ"
        return index

    def _forget_state(self, index: int) -> None:
        canvas = self._canvases[index]
        if canvas is None:
            return
        branches: NDArray[Any] = self._arrays.branches
        # Branches to this state and from it: its index will mean another canvas.
        branches["frame"][branches["state"] == index] = -1
        branches["frame"][index] = -1
        del self._state_of[canvas]
        self._canvases[index] = None


def _fault(reason: str) -> ProtocolViolation:
    return ProtocolViolation(CloseCode.PROTOCOL_ERROR, reason)


# Groups and their tables.


def new_tables(settings: NDArray[Any], devices: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The fields of `layout.Arrays` for what viewers see. Writes group and state of `devices`, and `settings`."""
    width, height = int(settings["width"][0]), int(settings["height"][0])
    groups = np.zeros(1, layout.GROUP)
    groups["width"], groups["height"] = width, height
    frames, states, payloads, regions = layout.FRAMES_MAX, layout.STATES_MAX, (1, 1), (1, 1, 1)
    if settings["region"][0] == layout.Region.AROUND:
        # One for each region that any device may ever watch: pages of memory that none touches cost nothing.
        groups = _regions(width, height)
        frames, states = layout.REGION_FRAMES_MAX, layout.REGION_STATES_MAX
        payloads = (len(groups) * frames, layout.REGION_PAYLOAD_BYTES_MAX)
        regions = (len(groups) * states, layout.REGION_SIDE, layout.REGION_SIDE)
    settings["frames_a_group"], settings["states_a_group"] = frames, states
    rows = np.zeros(len(groups) * states, layout.STATE)
    join_groups(settings, devices, rows, 0)
    branches = np.zeros((len(rows), layout.BRANCHES), layout.BRANCH)
    branches["frame"] = -1
    return {
        "groups": groups,
        "frames": np.zeros(len(groups) * frames, layout.FRAME),
        "states": rows,
        "branches": branches,
        "payloads": np.zeros(payloads, np.uint8),
        "regions": np.zeros(regions, np.uint8),
    }


def join_groups(settings: NDArray[Any], devices: NDArray[Any], states: NDArray[Any], first: int) -> None:
    """Put the devices from `first` on into their groups, in the state that is no canvas."""
    joining = devices[first:]
    joining["group"] = 0
    if settings["region"][0] == layout.Region.AROUND:
        joining["group"] = _groups_around(settings, first, len(devices))
    joining["state"] = joining["group"] * int(settings["states_a_group"][0])
    np.add.at(states["holders"], joining["state"], 1)


def _corners(tiles: int) -> int:
    """Positions of two adjacent tiles along a side of `tiles` tiles."""
    return max(tiles - 1, 1)


def _regions(width: int, height: int) -> NDArray[Any]:
    """All regions of two by two tiles, dtype GROUP, row by row; smaller where the canvas is."""
    across, down = (_corners(tiles) for tiles in tile_shape(width, height))
    numbers = np.arange(across * down)
    groups = np.zeros(across * down, layout.GROUP)
    groups["x"], groups["y"] = numbers % across * TILE_SIDE, numbers // across * TILE_SIDE
    groups["width"] = np.minimum(groups["x"] + layout.REGION_SIDE, width) - groups["x"]
    groups["height"] = np.minimum(groups["y"] + layout.REGION_SIDE, height) - groups["y"]
    return groups


def _groups_around(settings: NDArray[Any], first: int, end: int) -> NDArray[np.int64]:
    """The region around the pixel of each device from `first` to before `end`, as a group."""
    width, height = int(settings["width"][0]), int(settings["height"][0])
    pixels = np.array([home_pixel(settings[0], d) for d in range(first, end)], np.int64)
    across, down = tile_shape(width, height)
    tile_x, tile_y = _first_tile(pixels % width, across), _first_tile(pixels // width, down)
    return tile_y * _corners(across) + tile_x


def _first_tile(pixel: NDArray[np.int64], tiles: int) -> NDArray[np.int64]:
    """The first of the two tiles around a pixel, along a side of `tiles` tiles."""
    return np.clip((pixel + TILE_SIDE // 2) // TILE_SIDE - 1, 0, max(tiles - 2, 0))
