"""What devices that speak MQTT publish: whole PLACE messages, made from the frames of a filled block.

A block holds the frames that would go over a socket, twelve bytes each and masked; MQTT carries the message alone, six
bytes. Pure arithmetic on arrays. Invariant: the placements are those of the frames, in their order.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.protocol.messages import PLACE_DTYPE
from server.wire import PLACE, PLACE_FRAME_BYTES

_WORDS = PLACE_FRAME_BYTES // 4


class Batch(NamedTuple):
    """What one device publishes at once."""

    device: int
    payload: bytes


def unmask(words: NDArray[np.uint32], size: int) -> NDArray[Any]:
    """The placements in the first `size` bytes of `words`, shape (size / 12,), dtype PLACE_DTYPE. See `frames`."""
    frames = words[: size // 4].reshape(-1, _WORDS)
    low, high = frames[:, 0] >> 16, frames[:, 1] & 0xFFFF
    op_and_color = (frames[:, 1] >> 16) ^ low
    place = frames[:, 2] ^ (high | low << 16)
    rows = np.empty(len(frames), PLACE_DTYPE)
    rows["op"], rows["color"] = op_and_color & 0xFF, op_and_color >> 8
    rows["x"], rows["y"] = place & 0xFFFF, place >> 16
    return rows


def batches(rows: NDArray[Any], segments: NDArray[Any]) -> list[Batch]:
    """One batch a segment of the block; `rows` as `unmask` gives, `segments`: (writes,) SEGMENT."""
    data = rows.tobytes()
    made = []
    for device, start, end, _ in segments.tolist():
        first, last = start // PLACE_FRAME_BYTES, end // PLACE_FRAME_BYTES
        made.append(Batch(device, data[first * PLACE.size : last * PLACE.size]))
    return made


def publication_bytes(topic: str, payload: bytes) -> int:
    """Bytes of a PUBLISH of MQTT 3.1.1 at QoS 0."""
    rest = 2 + len(topic) + len(payload)
    length_bytes = 1 if rest < 1 << 7 else 2 if rest < 1 << 14 else 3 if rest < 1 << 21 else 4
    return 1 + length_bytes + rest
