"""The carrier: a thread that keeps up the server's connection to the broker, fills the inbox, and publishes what the
loop hands it.

It knows no canvas. What the loop hands over becomes the link's in this thread alone. Invariants: the broker has info,
retained, before anything else of a connection; what was made for one connection is never published on another.
"""

import asyncio
import threading
from collections.abc import Callable

from server.bridge.inbox import Inbox
from server.ipc.control import BrokerState
from server.mqtt.address import BrokerAddress
from server.mqtt.client import explain, tls_context
from server.mqtt.link import BrokerLink, Publication
from server.mqtt.topics import Topics
from server.system import clock

END_S = 3.0
"""How long the end waits for what is still to be published."""

Tell = Callable[[BrokerState, str], None]
"""Hears, from the carrier's thread, how it stands with the broker, and one line for people; "" where none is due."""


class Carrier:
    """One connection to the broker, which people call `name`, and its life.

    Raises ValueError, one line, for a CA file that cannot be used.
    """

    def __init__(self, address: BrokerAddress, name: str, topics: Topics, inbox: Inbox, tell: Tell) -> None:
        self.is_connected = False
        self.connected_count = 0
        """Connections made so far."""
        self._address, self._name, self._topics, self._inbox, self._tell = address, name, topics, inbox, tell
        self._handed_count = 0
        """What the loop has handed over so far; its thread alone writes this."""
        self._passed_count = 0
        """Of these, passed on to the link, or given up; the carrier's thread alone writes this."""
        self._info = b""
        self._gone_ns = self._attempt_count = 0
        self._loop = asyncio.new_event_loop()
        self._link = BrokerLink(address, "canvas", tls_context(address), (topics.places,), self)
        self._thread = threading.Thread(target=self._run, name="carrier", daemon=True)

    @property
    def owed_count(self) -> int:
        """What was handed over and is not with the broker yet."""
        return self._handed_count - self._passed_count + self._link.owed_count

    def start(self, info: bytes) -> None:
        """Begin to dial. `info` is published, retained, each time that the broker is reached."""
        self._info = info
        self._gone_ns = clock.now_ns()
        self._thread.start()

    def inform(self, info: bytes) -> None:
        """Publish this as info from now on."""
        self._loop.call_soon_threadsafe(self._renew_info, info)

    def publish(self, topic: str, payload: bytes, connection: int) -> None:
        """Hand something over that was made for the connection of this number, as `connected_count` counts.

        Where that is gone, it is given up. Called by one thread, the loop's.
        """
        self._handed_count += 1
        self._loop.call_soon_threadsafe(self._pass_on, Publication(topic, payload), connection)

    def close(self) -> None:
        """Publish what is owed, say good-bye and end; bounded by END_S. Once."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._link.end)
            self._thread.join(END_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._link.live())
        self.is_connected = False
        self._loop.run_until_complete(self._loop.shutdown_default_executor())

    # In the carrier's thread: what was handed over, and what the link tells.

    def _renew_info(self, info: bytes) -> None:
        self._info = info
        if self.is_connected:
            self._publish_info()
            self._link.wake()

    def _pass_on(self, publication: Publication, connection: int) -> None:
        if self.is_connected and connection == self.connected_count:
            self._link.publish(publication)
            self._link.wake()
        self._passed_count += 1

    def _publish_info(self) -> None:
        self._link.publish(Publication(self._topics.info, self._info, is_retained=True))

    def on_open(self) -> None:
        """The broker is there: it gets info, and the loop may hand it deltas."""
        now_ns, was_there = clock.now_ns(), self.connected_count > 0
        away_s = (now_ns - self._gone_ns) * 1e-9
        self._publish_info()
        self._attempt_count = 0
        self.connected_count += 1
        self.is_connected = True
        how = f"back after {away_s:.1f} s" if was_there else "there"
        self._tell(BrokerState(self._name, True, now_ns), f"broker {self._address.shown} is {how}")
        self._inbox.arrived.set()

    def on_gone(self, fault: BaseException, left: list[Publication], *, was_open: bool) -> None:
        """The broker went away, or is still not there. What was left over is told anew by the loop."""
        self.is_connected = False
        self._attempt_count += not was_open
        is_news = was_open or (self._attempt_count == 1 and not self.connected_count)
        if was_open:
            self._gone_ns = clock.now_ns()
        state = BrokerState(self._name, False, self._gone_ns, self._attempt_count)
        reason = f"{explain(self._address, fault)}; it is dialled again and again"
        how = "gone" if was_open else "not there"
        self._tell(state, f"broker {self._address.shown} is {how}: {reason}" if is_news else "")

    def on_message(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        """A device placed. What is retained was there before us and must not count with each connection.

        amqtt sends to a new client also what is retained where others have subscribed: our own info, for one.
        """
        device = self._topics.device_of(topic)
        if is_retained or device is None:
            self._inbox.ignore()
        else:
            self._inbox.put(device, payload)

    def on_published(self, publication: Publication) -> None:
        """The loop may hand over the next delta."""
        self._inbox.arrived.set()
