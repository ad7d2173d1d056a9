"""What the devices of a fleet behind a broker publish: what is due, in blocks of batches, a batch a publication.

The blocks are those of a memory link, at QoS 0. It knows not who comes and goes. Invariant: no more than `OWED_MAX`
publications wait for the broker's sockets; what is due beyond that is late.
"""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from devices.fleet.fleet import Fleet
from devices.kernels import layout
from devices.kernels.memory import fill_block
from devices.mqtt.gateway import Gateway
from devices.mqtt.membership import Membership
from devices.mqtt.publications import batches, publication_bytes, unmask
from server.kernels.layout import SEGMENT
from server.mqtt.link import Publication
from server.system import clock
from server.wire import PLACE, PLACE_FRAME_BYTES

OWED_MAX = 256
"""Publications that wait for the broker's socket at most, 15 ms of work: what is due beyond that is late."""
STEP_NS = 1_000_000
"""Least time between two looks at all devices,"""
STEP_NS_A_DEVICE = 10
"""and this for each."""
IDLE_NS = 20_000_000


class Publisher:
    """Publishes for `fleet` through `gateways`. `expect` is told of each placement whose latency is probed."""

    def __init__(
        self,
        fleet: Fleet,
        gateways: Sequence[Gateway],
        attendance: Membership,
        expect: Callable[[int, np.void], None],
    ) -> None:
        self._fleet, self._gateways, self._attendance, self._expect = fleet, gateways, attendance, expect
        self._counters = fleet.arrays.counters[0]
        self._fills = np.zeros(1, layout.FILL)
        self._segments = np.zeros(OWED_MAX, SEGMENT)
        self._words = np.zeros(OWED_MAX * 64 * PLACE_FRAME_BYTES // 4, np.uint32)
        self._called = asyncio.Event()
        self._resume_ns = 0
        self._is_full = False

    @property
    def owed_count(self) -> int:
        """Publications that no socket has taken yet."""
        return sum(gateway.link.owed_count for gateway in self._gateways)

    async def publish_until(self, until_ns: int) -> None:
        """Publish what is due, until then."""
        while (now_ns := clock.now_ns()) < until_ns:
            room = OWED_MAX - self.owed_count
            is_due = now_ns >= self._resume_ns
            if room > 0 and is_due:
                self._fill(room, now_ns)
                await asyncio.sleep(0)  # The links publish now, as far as their sockets take it at once.
                continue
            self._counters["blocked_count"] += room <= 0 and is_due
            self._is_full = room <= 0
            await self._rest((min(until_ns, self._resume_ns) if room > 0 else until_ns) - now_ns)

    def note(self, publication: Publication) -> None:
        """A broker's socket took this."""
        self._counters["sent_count"] += len(publication.payload) // PLACE.size
        self._counters["sent_bytes"] += publication_bytes(publication.topic, publication.payload)
        self._counters["write_count"] += 1
        if self._is_full and self.owed_count <= OWED_MAX // 2:
            self._is_full = False
            self._called.set()

    def abandon(self, left: Sequence[Publication]) -> None:
        """The broker is gone, and no socket takes these any more."""
        self._counters["abandoned_count"] += sum(len(each.payload) for each in left) // PLACE.size

    async def _rest(self, for_ns: int) -> None:
        """Wait so long, or until there is room again."""
        self._called.clear()
        try:
            await asyncio.wait_for(self._called.wait(), for_ns * 1e-9)
        except TimeoutError:
            return

    def _fill(self, room: int, now_ns: int) -> None:
        """Hand the links what is due, so many publications at most."""
        fill = self._fills[0]
        is_full = fill_block(self._fleet.arrays, self._fills, self._words, self._segments[:room], now_ns)
        least_ns = now_ns + STEP_NS + STEP_NS_A_DEVICE * self._fleet.config.connections
        self._resume_ns = now_ns if is_full else max(least_ns, min(int(fill["next_ns"]), now_ns + IDLE_NS))
        count, probed = int(fill["segment_count"]), int(fill["probe"])
        if not count:
            return
        rows, topics = unmask(self._words, int(fill["size"])), self._attendance.place_topics
        for batch in batches(rows, self._segments[:count]):
            self._attendance.gateway_of(batch.device).publish(topics[batch.device], batch.payload)
        if probed >= 0:
            ends = self._segments["end"][:count][self._segments["slot"][:count] == probed]
            self._expect(probed, rows[int(ends[0]) // PLACE_FRAME_BYTES - 1])
