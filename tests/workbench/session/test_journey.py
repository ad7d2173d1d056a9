"""Journeys: fleet and server records of one batch are joined by number, time and tick."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.ipc.page import Page, connection_sections, fleet_sections
from server.kernels.layout import FLEET_JOURNEY, JOURNEY, JOURNEY_ROWS
from workbench.session.journey import join_journeys, journeys_of
from workbench.telemetry.view import Journey

WIDTH = 100


def sent(number, sent_ns, tick=9, pixel=203):
    row = np.zeros((), FLEET_JOURNEY)
    row["number"], row["pixel"], row["tick"] = number, pixel, tick
    row["intended_ns"], row["sent_ns"], row["seen_ns"] = sent_ns - 5, sent_ns, sent_ns + 1000
    return row


def read(number, read_ns, tick=9, encoded_ns=0, sent_ns=0):
    row = np.zeros((), JOURNEY)
    row["number"], row["read_ns"], row["tick"] = number, read_ns, tick
    row["decoded_ns"], row["admitted_ns"], row["applied_ns"] = read_ns + 1, read_ns + 2, read_ns + 3
    row["encoded_ns"], row["sent_ns"] = encoded_ns, sent_ns
    return row


def rows(dtype, *given):
    table = np.zeros(len(given), dtype)
    for index, row in enumerate(given):
        table[index] = row
    return table


def join(fleet, server):
    return join_journeys(rows(FLEET_JOURNEY, *fleet), rows(JOURNEY, *server), WIDTH)


def test_the_two_ends_of_a_batch_make_one_journey():
    assert join([sent(7, 100)], [read(7, 120, encoded_ns=400, sent_ns=450)]) == [
        Journey(7, 3, 2, 95, 100, 120, 121, 122, 123, None, 400, 450, 1100)
    ]


def test_a_step_that_has_not_happened_is_none():
    (journey,) = join([sent(7, 100)], [read(7, 120)])
    assert (journey.applied_ns, journey.encoded_ns, journey.fanned_out_ns) == (123, None, None)


def test_the_first_read_after_the_sending_is_taken():
    (journey,) = join([sent(7, 100)], [read(7, 99), read(7, 100), read(7, 101)])
    assert journey.read_ns == 100


def test_a_read_after_the_next_batch_belongs_to_that_batch():
    """One read received both batches: it is the later one's, and the first has only the fleet's times."""
    assert [journey.read_ns for journey in join([sent(7, 100), sent(7, 110)], [read(7, 130)])] == [None, 130]


def test_connections_are_not_mixed():
    assert [journey.read_ns for journey in join([sent(7, 100), sent(8, 101)], [read(8, 120), read(7, 130)])] == [
        130,
        120,
    ]


def test_a_read_applied_in_a_later_tick_is_not_joined():
    assert [journey.read_ns for journey in join([sent(7, 100, tick=9)], [read(7, 120, tick=10)])] == [None]
    assert [journey.read_ns for journey in join([sent(7, 100, tick=9)], [read(7, 120, tick=0)])] == [None]


@given(st.lists(st.integers(1, 9), max_size=12), st.lists(st.booleans(), min_size=12, max_size=12))
@settings(deadline=None)
def test_each_batch_finds_its_own_read_when_others_are_missing(gaps, noted):
    """Batches of one connection, each read before the next is sent; the server recorded some of them."""
    times = np.cumsum(gaps, dtype=np.int64) * 10
    fleet = [sent(3, int(time_ns), tick=n + 1) for n, time_ns in enumerate(times)]
    server = [read(3, int(time_ns) + 4, tick=n + 1) for n, time_ns in enumerate(times) if noted[n]]
    found = [journey.read_ns for journey in join(fleet, server)]
    assert found == [int(time_ns) + 4 if noted[n] else None for n, time_ns in enumerate(times)]


def test_pages_are_read_for_one_connection_in_order():
    connections, fleet = Page.create(connection_sections(1, 4)), Page.create(fleet_sections())
    for n in range(JOURNEY_ROWS + 3):
        number = 1 + n % 2
        fleet["journeys"][n % JOURNEY_ROWS] = sent(number, 1000 * n)
        connections["journeys"][n % JOURNEY_ROWS] = read(number, 1000 * n + 10)
    for page in (connections, fleet):
        page["journey_head"][0] = JOURNEY_ROWS + 3
    found = journeys_of(connections, fleet, 2, WIDTH)
    assert {journey.number for journey in found} == {2}
    times = [journey.sent_ns for journey in found]
    assert times == sorted(times) and len(times) == JOURNEY_ROWS // 2 - 1
    assert all(journey.read_ns == journey.sent_ns + 10 for journey in found)
    connections.close()
    fleet.close()
