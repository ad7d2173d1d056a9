"""What viewers hold: every canvas that is on some viewer's screen, once, and which frame leads from which to which.

The compiled half (`kernels.viewer`) follows branches; this half teaches one when a frame is new to a state: it
inflates, applies and finds the canvas that results among those known, so that viewers that took different ways to the
same picture share it again. What viewers of regions see is all in the compiled half, which is asked. Invariant:
`state_of[canvas of s] == s` for every state in use, state 0 is no canvas.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.kernels.layout import FRAMES_MAX, STATES_MAX, Arrays, Region, Verdict
from devices.kernels.regions import apply_blocks, learn
from server.protocol.body import read_body
from server.protocol.websocket import CloseCode, ProtocolViolation
from server.wire import BLOCK_BYTES_MAX, DELTA, SNAPSHOT, ServerOp

CANVAS_BYTES_MAX = 256 * 1024 * 1024
"""All canvases together. A viewer for which there is no room is not checked before its next SNAPSHOT."""
FRAME_BYTES_MAX = 64 * 1024 * 1024
"""All remembered frames together."""


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
        """Go on with these arrays, which have more devices and the same tables."""
        self._arrays = arrays

    def learn_transition(self, d: int, payload: bytes) -> None:
        """Teach where `payload`, a SNAPSHOT or DELTA, leads from the state of device `d`. Raises ProtocolViolation."""
        if self._is_regional:
            self._teach_region(d, payload)
            return
        self._stamp += 1
        state = int(self._arrays.devices["state"][d])
        self._arrays.states["used"][state] = self._stamp
        read = self._read_snapshot if payload[0] == ServerOp.SNAPSHOT else self._read_delta
        tick, canvas, pixel_count = read(state, payload)
        frame = self._frame(payload, tick)
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

    def _teach_region(self, d: int, payload: bytes) -> None:
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
        if len(payload) < SNAPSHOT.size:
            raise _fault(f"a SNAPSHOT of {len(payload)} bytes; its head alone has {SNAPSHOT.size}")
        _, encoding, tick, x, y, width, height = SNAPSHOT.unpack_from(payload)
        if x + width > self._shape[1] or y + height > self._shape[0]:
            raise _fault(f"a SNAPSHOT of {width} x {height} at {x}, {y} leaves the canvas")
        body = read_body("SNAPSHOT", encoding, payload[SNAPSHOT.size :], width * height)
        if len(body) != width * height:
            raise _fault(f"a SNAPSHOT of {width} x {height} with {len(body)} pixels")
        pixels = self._base(state).copy()
        pixels[y : y + height, x : x + width] = np.frombuffer(body, np.uint8).reshape(height, width)
        return tick, pixels.tobytes(), 0

    def _read_delta(self, state: int, payload: bytes) -> tuple[int, bytes | None, int]:
        if len(payload) < DELTA.size:
            raise _fault(f"a DELTA of {len(payload)} bytes; its head alone has {DELTA.size}")
        _, encoding, count, tick = DELTA.unpack_from(payload)
        body = read_body("DELTA", encoding, payload[DELTA.size :], count * BLOCK_BYTES_MAX)
        before = self._base(state)
        pixels = before.copy()
        told = apply_blocks(pixels, before.copy(), np.frombuffer(bytearray(body), np.uint8), count)
        if told < 0:
            raise _fault(f"a DELTA of tick {tick} whose {count} blocks cannot be read")
        return tick, None if self._canvases[state] is None else pixels.tobytes(), told

    def _frame(self, payload: bytes, tick: int) -> int:
        """The index of a frame with these bytes; a new one takes a free place or that of the one unused longest."""
        frames = self._arrays.frames
        index = self._frame_of.get(payload)
        if index is None:
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
        branches["frame"][branches["frame"] == index] = -1  # Before the bytes go that kernels compare with.
        self._arrays.frames["used"][index] = 0
        del self._frame_of[payload]
        self._payloads[index] = None
        self._frame_bytes -= len(payload)

    def _state(self, canvas: bytes, keep: int) -> int:
        """The state of this canvas: known, or new in a free place or that of one nobody holds; 0 if all are held."""
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
        return index

    def _forget_state(self, index: int) -> None:
        canvas = self._canvases[index]
        if canvas is None:
            return
        branches: NDArray[Any] = self._arrays.branches
        branches["frame"][branches["state"] == index] = -1
        branches["frame"][index] = -1
        del self._state_of[canvas]
        self._canvases[index] = None


def _fault(reason: str) -> ProtocolViolation:
    return ProtocolViolation(CloseCode.PROTOCOL_ERROR, reason)
