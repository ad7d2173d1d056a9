"""What the devices of a fleet behind a broker publish: blocks of due batches, one PLACE publication per batch.

The blocks are those of a memory link. They hold the frames that a socket would get, twelve bytes each and masked; MQTT
carries the message alone, six bytes, at QoS 0. At most `OWED_MAX` publications wait for the broker's sockets; what is
due beyond that is late.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.fleet.fleet import Fleet
from devices.kernels.probes import take_first
from devices.mqtt.gateway import Gateway
from devices.mqtt.membership import Membership
from server.kernels.layout import SEGMENT
from server.mqtt.link import Publication
from server.protocol.messages import PLACE_DTYPE
from server.system import clock
from server.wire import PLACE, PLACE_FRAME_BYTES

# Most publications that wait for the broker's sockets: 15 ms of work.
OWED_MAX = 256


def unmask(words: NDArray[np.uint32], size: int) -> NDArray[Any]:
    """The placements in the first `size` bytes of `words`, in order: shape (size / 12,), dtype PLACE_DTYPE."""
    frames = words[: size // 4].reshape(-1, PLACE_FRAME_BYTES // 4)
    # A frame is head (2 bytes), mask key (4), message (6): the key lies across words 0 and 1, the message across 1, 2.
    low, high = frames[:, 0] >> 16, frames[:, 1] & 0xFFFF
    op_and_color = (frames[:, 1] >> 16) ^ low
    place = frames[:, 2] ^ (high | low << 16)
    rows = np.empty(len(frames), PLACE_DTYPE)
    rows["op"], rows["color"] = op_and_color & 0xFF, op_and_color >> 8
    rows["x"], rows["y"] = place & 0xFFFF, place >> 16
    return rows


def batches(rows: NDArray[Any], segments: NDArray[Any]) -> Iterator[tuple[int, bytes]]:
    """Device and payload of each segment of a block. `rows`: from `unmask`; `segments`: (writes,) SEGMENT."""
    data = rows.tobytes()
    for device, start, end, _ in segments.tolist():
        first, last = start // PLACE_FRAME_BYTES, end // PLACE_FRAME_BYTES
        yield device, data[first * PLACE.size : last * PLACE.size]


def publication_bytes(topic: str, payload: bytes) -> int:
    """Bytes of a PUBLISH of MQTT 3.1.1 at QoS 0."""
    rest = 2 + len(topic) + len(payload)
    length_bytes = 1 if rest < 1 << 7 else 2 if rest < 1 << 14 else 3 if rest < 1 << 21 else 4
    return 1 + length_bytes + rest


class Publisher:
    """Publishes for `fleet` through `gateways`. `expect` is called with the row of each probe."""

    def __init__(
        self,
        fleet: Fleet,
        gateways: Sequence[Gateway],
        membership: Membership,
        expect: Callable[[int], None],
    ) -> None:
        self._fleet, self._gateways, self._membership, self._expect = fleet, gateways, membership, expect
        self._counters = fleet.arrays.counters[0]
        self._segments = np.zeros(OWED_MAX, SEGMENT)
        self._words = np.zeros(OWED_MAX * 64 * PLACE_FRAME_BYTES // 4, np.uint32)
        self._has_room = asyncio.Event()
        self._is_full = False

    @property
    def owed_count(self) -> int:
        """Publications that no socket has taken yet."""
        return sum(gateway.link.owed_count for gateway in self._gateways)

    async def publish_until(self, until_ns: int) -> None:
        """Publish what is due, until `until_ns`."""
        while (now_ns := clock.now_ns()) < until_ns:
            room = OWED_MAX - self.owed_count
            is_due = now_ns >= self._fleet.resume_ns
            if room > 0 and is_due:
                self._fill(room, now_ns)
                await asyncio.sleep(0)  # The links publish now, as far as their sockets have room.
                continue
            self._counters["blocked_count"] += room <= 0 and is_due
            self._is_full = room <= 0
            await self._wait((min(until_ns, self._fleet.resume_ns) if room > 0 else until_ns) - now_ns)

    def on_published(self, publication: Publication) -> None:
        """Count what a socket took."""
        self._counters["sent_count"] += len(publication.payload) // PLACE.size
        self._counters["sent_bytes"] += publication_bytes(publication.topic, publication.payload)
        self._counters["write_count"] += 1
        if self._is_full and self.owed_count <= OWED_MAX // 2:
            self._is_full = False
            self._has_room.set()

    def abandon(self, left: Sequence[Publication]) -> None:
        """Count what the broker's connection left unsent when it ended."""
        self._counters["abandoned_count"] += sum(len(each.payload) for each in left) // PLACE.size

    async def _wait(self, for_ns: int) -> None:
        """Wait this long, or until there is room."""
        self._has_room.clear()
        try:
            await asyncio.wait_for(self._has_room.wait(), for_ns * 1e-9)
        except TimeoutError:
            return

    def _fill(self, room: int, now_ns: int) -> None:
        """Give the links what is due, `room` publications at most."""
        fill = self._fleet.fill_block(self._words, self._segments[:room], now_ns, 0)
        count = int(fill["segment_count"])
        if not count:
            return
        rows, topics = unmask(self._words, int(fill["size"])), self._membership.place_topics
        for d, payload in batches(rows, self._segments[:count]):
            self._membership.gateway_of(d).publish(topics[d], payload)
        assert self.owed_count <= OWED_MAX
        while row := int(take_first(self._fleet.arrays, 0)):
            self._expect(row)
