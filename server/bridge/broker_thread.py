"""The thread with the server's connection to the broker, and the inbox that it fills for the bridge's loop.

It publishes what the loop hands over. On each connection the broker gets the retained info first. What was made for one
connection is never published on another: a new one begins with a DELTA of everything.

MQTT has no way to slow a device down, so the inbox is bounded: what does not fit is shed, and counted for its device.
Each placement that arrives is either taken or counted by `take_refused`, once.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from server.ipc.control import BrokerState
from server.mqtt.address import BrokerAddress
from server.mqtt.link import BrokerLink, Publication, explain, tls_context
from server.mqtt.topics import Topics, count_places
from server.system import clock

# Time at the end for what is still to be published.
END_S = 3.0
# Placements that may wait, 1.5 MB: some seconds of what a broker delivers, so that a pause of the loop sheds none.
INBOX_PLACES_MAX = 1 << 18
# Devices whose shed placements are counted separately between two looks of the loop.
SHED_DEVICES_MAX = 4096

OnState = Callable[[BrokerState, str], None]
"""Called from the broker thread with the state of the connection, and a line to show, or ""."""


class Inbox:
    """Publications of devices. One thread puts, another takes; `arrived` is set when there may be something to take."""

    def __init__(self, places_max: int = INBOX_PLACES_MAX) -> None:
        self.arrived = threading.Event()
        self._places_max = places_max
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, bytes, int]] = deque()
        self._places = 0
        self._shed: dict[str, int] = {}
        self._fault_count = self._ignored_count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, device: str, payload: bytes) -> None:
        """Add what a device published; `device` is "" for an invalid ID."""
        count = count_places(payload) if device else 0
        with self._lock:
            if count == 0:
                self._fault_count += 1
            elif self._places + count <= self._places_max:
                self._waiting.append((device, payload, count))
                self._places += count
            elif device in self._shed or len(self._shed) < SHED_DEVICES_MAX:
                self._shed[device] = self._shed.get(device, 0) + count
            else:
                self._fault_count += 1
        self.arrived.set()

    def ignore(self) -> None:
        """Count a publication that is neither new nor a fault, and has no effect."""
        with self._lock:
            self._ignored_count += 1

    def take(self, payloads_max: int, places_max: int) -> list[tuple[str, bytes, int]]:
        """Remove and return the oldest (device, payload, placements), up to these numbers of both."""
        taken: list[tuple[str, bytes, int]] = []
        left = places_max
        with self._lock:
            while self._waiting and len(taken) < payloads_max and self._waiting[0][2] <= left:
                taken.append(self._waiting.popleft())
                left -= taken[-1][2]
            self._places -= places_max - left
            assert self._places >= 0
        return taken

    def take_refused(self) -> tuple[dict[str, int], int, int]:
        """Shed placements by device, invalid and ignored publications, since the last call.

        Those of more devices than can be counted are invalid.
        """
        with self._lock:
            refused = self._shed, self._fault_count, self._ignored_count
            self._shed, self._fault_count, self._ignored_count = {}, 0, 0
        return refused


class BrokerThread:
    """Keeps up the connection to a broker that is shown as `name`.

    Raises ValueError, one line, for a CA file that cannot be used.
    """

    def __init__(self, address: BrokerAddress, name: str, topics: Topics, inbox: Inbox, on_state: OnState) -> None:
        self.is_connected = False
        self.connected_count = 0
        self._address, self._name, self._topics, self._inbox, self._on_state = address, name, topics, inbox, on_state
        # Two counters with one writer each need no lock: the loop hands over, this thread passes on to the link.
        self._handed_count = 0
        self._passed_count = 0
        self._info = b""
        self._gone_ns = self._attempt_count = 0
        self._loop = asyncio.new_event_loop()
        self._link = BrokerLink(address, "canvas", tls_context(address), (topics.places,), self)
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)

    @property
    def owed_count(self) -> int:
        """Publications handed over that the broker does not have yet."""
        return self._handed_count - self._passed_count + self._link.owed_count

    def start(self, info: bytes) -> None:
        """Connect. `info` is published, retained, on each connection."""
        self._info = info
        self._gone_ns = clock.now_ns()
        self._thread.start()

    def inform(self, info: bytes) -> None:
        """Publish this info from now on."""
        self._loop.call_soon_threadsafe(self._renew_info, info)

    def publish(self, topic: str, payload: bytes, connection: int) -> None:
        """Publish on connection number `connection`, as `connected_count` counts; drop it if that one has ended.

        Called by the loop's thread only.
        """
        self._handed_count += 1
        self._loop.call_soon_threadsafe(self._pass_on, Publication(topic, payload), connection)

    def close(self) -> None:
        """Publish what is left, disconnect and end, within END_S. Called once."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._link.end)
            self._thread.join(END_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._link.run())
        self.is_connected = False
        self._loop.run_until_complete(self._loop.shutdown_default_executor())

    # In this thread: what was handed over, and what the link reports.

    def _renew_info(self, info: bytes) -> None:
        self._info = info
        if self.is_connected:
            self._publish_info()

    def _pass_on(self, publication: Publication, connection: int) -> None:
        if self.is_connected and connection == self.connected_count:
            self._link.publish(publication)
        self._passed_count += 1

    def _publish_info(self) -> None:
        self._link.publish(Publication(self._topics.info, self._info, is_retained=True))

    def on_open(self) -> None:
        """Connected: publish info, then let the loop publish deltas."""
        now_ns, was_there = clock.now_ns(), self.connected_count > 0
        away_s = (now_ns - self._gone_ns) * 1e-9
        self._publish_info()
        self._attempt_count = 0
        self.connected_count += 1
        self.is_connected = True  # After `connected_count`: the loop reads this first.
        how = f"back after {away_s:.1f} s" if was_there else "there"
        self._on_state(BrokerState(self._name, True, now_ns), f"broker {self._address.shown} is {how}")
        self._inbox.arrived.set()

    def on_gone(self, fault: BaseException, left: list[Publication], *, was_open: bool) -> None:
        """The broker is gone, or still cannot be reached. The loop replaces what is left by a new DELTA."""
        self.is_connected = False
        self._attempt_count += not was_open
        # Attempts that fail after the first one are no news.
        is_news = was_open or (self._attempt_count == 1 and not self.connected_count)
        if was_open:
            self._gone_ns = clock.now_ns()
        state = BrokerState(self._name, False, self._gone_ns, self._attempt_count)
        reason = f"{explain(self._address, fault)}; trying again"
        how = "gone" if was_open else "not there"
        self._on_state(state, f"broker {self._address.shown} is {how}: {reason}" if is_news else "")

    def on_message(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        """Put what a device published into the inbox."""
        # Retained messages are old: they must not count again with each connection. amqtt also sends a new client
        # what is retained under other clients' subscriptions, such as our own info.
        device = self._topics.device_of(topic)
        if is_retained or device is None:
            self._inbox.ignore()
        else:
            self._inbox.put(device, payload)

    def on_published(self, publication: Publication) -> None:
        """Let the loop publish the next delta."""
        self._inbox.arrived.set()
