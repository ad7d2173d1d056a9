"""The broker thread of the bridge: what the loop hands over while the connection ends and comes back."""

import asyncio
from collections import deque
from collections.abc import Iterator

import pytest

from server.bridge.broker_thread import BrokerThread, Inbox
from server.mqtt.address import parse_broker
from server.mqtt.link import BrokerLink, Publication
from server.mqtt.topics import Topics

TOPICS = Topics("main")


@pytest.fixture
def broker() -> Iterator[BrokerThread]:
    """A broker thread that was not started: the test does its work."""
    broker = BrokerThread(parse_broker("mqtt://127.0.0.1:1"), "broker", TOPICS, Inbox(), lambda state, text: None)
    yield broker
    broker._loop.close()


def run_calls(broker: BrokerThread) -> None:
    """Run what other threads have handed over."""
    broker._loop.run_until_complete(asyncio.sleep(0))


def owed(broker: BrokerThread) -> list[tuple[str, bytes]]:
    return [(publication.topic, publication.payload) for publication in broker._link._owed]


def test_what_was_made_for_an_ended_connection_is_dropped(broker: BrokerThread) -> None:
    """The loop publishes for a connection that has ended and been replaced meanwhile."""
    broker.inform(b"info")
    run_calls(broker)
    broker.on_open()
    number = broker.connected_count
    broker._link._lose(OSError())
    broker.publish(TOPICS.delta, b"old", number)
    broker.on_open()
    assert broker.owed_count == 2
    run_calls(broker)
    assert owed(broker) == [(TOPICS.info, b"info")] and broker.owed_count == 1
    broker.publish(TOPICS.delta, b"new", broker.connected_count)
    run_calls(broker)
    assert owed(broker) == [(TOPICS.info, b"info"), (TOPICS.delta, b"new")] and broker.owed_count == 2


def test_without_a_connection_everything_but_info_is_dropped(broker: BrokerThread) -> None:
    broker.publish(TOPICS.delta, b"early", 0)
    broker.inform(b"limits")
    run_calls(broker)
    assert owed(broker) == [] and broker.owed_count == 0
    broker.on_open()
    assert owed(broker) == [(TOPICS.info, b"limits")]


class Watched(deque[Publication]):
    """What is owed, with a look at how much that is between a step and the next."""

    def __init__(self, link: BrokerLink, counts: list[int]) -> None:
        super().__init__(link._owed)
        self._link, self._counts = link, counts

    def popleft(self) -> Publication:
        publication = super().popleft()
        self._counts.append(self._link.owed_count)
        return publication


def test_a_message_counts_as_owed_until_the_broker_has_it(broker: BrokerThread) -> None:
    link, counts, took = broker._link, list[int](), list[int]()

    class Client:
        async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
            took.append(link.owed_count)

    link.publish(Publication(TOPICS.delta, b"one"))
    link.publish(Publication(TOPICS.delta, b"two"))
    link._owed = Watched(link, counts)
    link._ended.set()
    broker._loop.run_until_complete(link._send(Client()))
    assert (counts, took, link.owed_count) == ([2, 1], [2, 1], 0)
