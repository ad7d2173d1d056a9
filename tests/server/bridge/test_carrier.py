"""The bridge's carrier between its two threads: what is handed over while the broker goes and comes back."""

import asyncio
from collections import deque
from collections.abc import Iterator

import pytest

from server.bridge.carrier import Carrier
from server.bridge.inbox import Inbox
from server.mqtt.address import parse_broker
from server.mqtt.link import BrokerLink, Publication
from server.mqtt.topics import Topics

TOPICS = Topics("main")


@pytest.fixture
def carrier() -> Iterator[Carrier]:
    """A carrier whose thread was not started: the test does what that would do."""
    carrier = Carrier(parse_broker("mqtt://127.0.0.1:1"), "broker", TOPICS, Inbox(), lambda state, text: None)
    yield carrier
    carrier._loop.close()


def run_calls(carrier: Carrier) -> None:
    """What other threads have handed to the carrier's."""
    carrier._loop.run_until_complete(asyncio.sleep(0))


def owed(carrier: Carrier) -> list[tuple[str, bytes]]:
    return [(publication.topic, publication.payload) for publication in carrier._link._owed]


def test_what_was_made_for_a_connection_that_is_gone_is_given_up(carrier: Carrier) -> None:
    """The loop saw the connection, and hands over when the broker has gone and come back."""
    carrier.inform(b"info")
    run_calls(carrier)
    carrier.on_open()
    number = carrier.connected_count
    carrier._link._lose(OSError())
    carrier.publish(TOPICS.delta, b"old", number)
    carrier.on_open()
    assert carrier.owed_count == 2
    run_calls(carrier)
    assert owed(carrier) == [(TOPICS.info, b"info")] and carrier.owed_count == 1
    carrier.publish(TOPICS.delta, b"new", carrier.connected_count)
    run_calls(carrier)
    assert owed(carrier) == [(TOPICS.info, b"info"), (TOPICS.delta, b"new")] and carrier.owed_count == 2


def test_what_is_handed_over_while_nobody_is_there_is_given_up_but_info(carrier: Carrier) -> None:
    carrier.publish(TOPICS.delta, b"early", 0)
    carrier.inform(b"limits")
    run_calls(carrier)
    assert owed(carrier) == [] and carrier.owed_count == 0
    carrier.on_open()
    assert owed(carrier) == [(TOPICS.info, b"limits")]


class Watched(deque[Publication]):
    """What is owed, with a look at how much that is between a step and the next."""

    def __init__(self, link: BrokerLink, counts: list[int]) -> None:
        super().__init__(link._owed)
        self._link, self._counts = link, counts

    def popleft(self) -> Publication:
        publication = super().popleft()
        self._counts.append(self._link.owed_count)
        return publication


def test_what_is_being_published_is_owed_until_the_broker_has_it(carrier: Carrier) -> None:
    link, counts, took = carrier._link, list[int](), list[int]()

    class Client:
        async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
            took.append(link.owed_count)

    link.publish(Publication(TOPICS.delta, b"one"))
    link.publish(Publication(TOPICS.delta, b"two"))
    link._owed = Watched(link, counts)
    link._ended.set()
    carrier._loop.run_until_complete(link._send(Client()))
    assert (counts, took, link.owed_count) == ([2, 1], [2, 1], 0)
