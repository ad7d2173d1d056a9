"""The census of connections, compared with plain formulas, and which connections it counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.kernels.layout import CONNECTION, Phase
from support.interrupted import interrupted
from workbench.telemetry import census
from workbench.telemetry.census import Census, CensusTaker, jain_index

SECOND = 1_000_000_000
TICK_NS = 100_000_000


def page(loops: int, slots: int, used: int) -> np.ndarray:
    """Connections of which the first `used` slots of each loop are open and have sent something."""
    rows = np.zeros((loops, slots), CONNECTION)
    rows["phase"][:, :used] = Phase.FAST
    rows["received_count"][:, :used] = 1
    rows["number"][:, :used] = np.arange(loops * used).reshape(loops, used)
    return rows


def after_a_second(rows: np.ndarray, change) -> census.Census:
    taker = CensusTaker(rows)
    taker.poll(SECOND, 10, TICK_NS)
    change(rows)
    return taker.poll(2 * SECOND, 10, TICK_NS)


class TestJain:
    @given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40))
    @settings(deadline=None)
    def test_equals_the_formula(self, shares: list[float]) -> None:
        squares = sum(share * share for share in shares)
        index = jain_index(np.array(shares))
        if squares == 0:
            assert index is None
        else:
            assert index == pytest.approx(sum(shares) ** 2 / (len(shares) * squares))

    def test_is_1_for_equal_shares_and_1_over_n_for_one(self) -> None:
        assert jain_index(np.full(9, 3.0)) == pytest.approx(1)
        assert jain_index(np.array([5.0] + [0.0] * 9)) == pytest.approx(0.1)


def shares(census: Census) -> tuple[float | None, ...]:
    return census.share_p5_per_s, census.share_p50_per_s, census.share_p95_per_s


class TestFairness:
    def test_shares_are_rates_of_those_that_send(self) -> None:
        def admit(rows: np.ndarray) -> None:
            rows["admitted_count"][:, :5] += np.arange(10).reshape(2, 5)

        rows = page(2, 4000, 5)
        rows["phase"][0, 5] = Phase.FAST  # One that has never sent: it only watches.
        found = after_a_second(rows, admit)
        assert shares(found) == pytest.approx(tuple(np.percentile(np.arange(10), (5, 50, 95))))
        assert found.fairness_index == pytest.approx(45**2 / (10 * 285))

    def test_connections_over_the_limit_are_counted(self) -> None:
        def refuse(rows: np.ndarray) -> None:
            rows["throttled_count"][0, [1, 3]] += 4

        assert after_a_second(page(1, 10, 5), refuse).over_limit_count == 2

    def test_a_slot_with_a_new_connection_is_ignored(self) -> None:
        def replace(rows: np.ndarray) -> None:
            rows["admitted_count"][0, :3] += 8
            rows["number"][0, 0], rows["admitted_count"][0, 0] = 99, 1_000_000

        assert shares(after_a_second(page(1, 10, 3), replace)) == (8, 8, 8)

    def test_a_slot_that_changes_hands_while_it_is_read_is_ignored(self) -> None:
        rows = page(1, 4, 3)
        rows["admitted_count"][:] = 1000

        def give_on() -> None:
            rows["number"][0, 1], rows["admitted_count"][0, 1] = 77, 0

        taker = CensusTaker(rows)
        taker.poll(SECOND, 10, TICK_NS)
        rows["admitted_count"] += 50
        taker._rows = interrupted(rows, "admitted_count", give_on)
        assert shares(taker.poll(2 * SECOND, 10, TICK_NS)) == (50, 50, 50)

    def test_without_connections_nothing_is_known(self) -> None:
        found = after_a_second(page(1, 10, 0), lambda rows: None)
        assert (found.fairness_index, shares(found), found.over_limit_count) == (None, (None, None, None), None)

    def test_of_very_many_only_some_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(census, "ROWS_MAX", 100)

        def admit(rows: np.ndarray) -> None:
            rows["admitted_count"] += 7
            rows["throttled_count"] += 1

        found = after_a_second(page(1, 1000, 1000), admit)
        assert shares(found) == (7, 7, 7) and found.over_limit_count == 1000


class TestLag:
    def test_a_viewer_that_lacks_several_broadcasts_lags(self) -> None:
        rows = page(1, 10, 6)
        rows["subscribed"][0, :5] = 1
        rows["cursor"][0, :6] = [10, 9, 7, 6, 0, 0]  # The last does not watch.
        found = CensusTaker(rows).poll(SECOND, 10, TICK_NS)
        assert (found.watching_count, found.lagging_count) == (5, 2)
        assert found.lacked_count == 0 + 1 + 3 + 4 + 10

    def test_a_viewer_that_asked_for_fewer_deltas_does_not_lag(self) -> None:
        rows = page(1, 10, 2)
        rows["subscribed"][0, :2] = 1
        rows["interval_ns"][0, 0] = 10 * TICK_NS
        assert CensusTaker(rows).poll(SECOND, 10, TICK_NS).lagging_count == 1


class TestCost:
    def test_is_taken_twice_per_second(self) -> None:
        rows = page(1, 10, 5)
        rows["subscribed"][0, :5] = 1
        taker = CensusTaker(rows)
        assert taker.poll(SECOND, 10, TICK_NS).lagging_count == 5
        rows["cursor"] = 10
        assert taker.poll(SECOND + census.INTERVAL_NS - 1, 10, TICK_NS).lagging_count == 5
        assert taker.poll(SECOND + census.INTERVAL_NS, 10, TICK_NS).lagging_count == 0

    def test_slots_behind_the_last_used_one_are_found_once_used(self) -> None:
        rows = page(2, 20_000, 100)
        rows["subscribed"] = rows["phase"] == Phase.FAST
        taker = CensusTaker(rows)
        assert taker.poll(SECOND, 10, TICK_NS).lagging_count == 200
        rows["phase"][1, :17_000] = Phase.FAST
        rows["subscribed"] = rows["phase"] == Phase.FAST
        assert taker.poll(2 * SECOND, 10, TICK_NS).lagging_count == 17_100
