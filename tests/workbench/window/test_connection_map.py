"""The map of connections and the timeline of a journey as numbers, against naive versions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.kernels.layout import CONNECTION, Phase
from support.interrupted import interrupted
from workbench.telemetry.view import Journey
from workbench.window.connections import connection_card
from workbench.window.connections.connection_card import first_number, place_of, read_row
from workbench.window.connections.connections_view import (
    READ_INTERVAL_NS,
    Grid,
    Snapshots,
    grid_for,
    is_closing,
    paint_cells,
    take_snapshot,
    values_of,
)
from workbench.window.connections.journey_view import (
    drawn_lengths,
    longest,
    newest_complete,
    spans_of,
    total_ns,
)
from workbench.window.toolkit import ramp

SECOND_NS = 1_000_000_000


def some_connections(seed: int, slots: int = 40) -> np.ndarray:
    """Two loops of connections: numbers without repeats, a third of the slots free."""
    draw = np.random.default_rng(seed)
    connections = np.zeros((2, slots), CONNECTION)
    flat = connections.reshape(-1)
    flat["phase"] = draw.choice([Phase.FREE, Phase.FAST, Phase.SLOW, Phase.DEAD], 2 * slots, p=[0.3, 0.5, 0.15, 0.05])
    flat["number"] = draw.permutation(2 * slots)
    flat["subscribed"] = draw.integers(0, 2, 2 * slots)
    flat["cursor"] = draw.integers(90, 101, 2 * slots)
    for name in ("admitted_count", "throttled_count", "shed_count", "out_of_bounds_count"):
        flat[name] = draw.integers(0, 1000, 2 * slots)
    flat["opened_ns"] = draw.integers(0, 10 * SECOND_NS, 2 * slots)
    return connections


def naive_rates(before: np.ndarray, after: np.ndarray, seconds: float) -> dict[int, float]:
    """Admitted a second by number, of those that were open at both ends in the same slot."""
    rates = {}
    for first, last in zip(before.ravel(), after.ravel(), strict=True):
        if last["phase"] != Phase.FREE:
            same = first["phase"] != Phase.FREE and first["number"] == last["number"]
            grown = (last["admitted_count"] - first["admitted_count"]) / seconds
            rates[int(last["number"])] = grown if same else float("nan")
    return rates


@pytest.mark.parametrize("seed", range(3))
def test_rates_are_those_of_the_naive_twin(seed: int) -> None:
    draw = np.random.default_rng(seed + 50)
    before = some_connections(seed)
    after = before.copy()
    flat = after.reshape(-1)
    flat["admitted_count"] += draw.integers(0, 100, len(flat))
    changed = draw.random(len(flat)) < 0.2
    flat["number"][changed] += 1000
    flat["phase"][draw.random(len(flat)) < 0.1] = Phase.FREE
    flat["phase"][draw.random(len(flat)) < 0.1] = Phase.FAST
    snapshots = Snapshots()
    assert snapshots.read(before, 0) and snapshots.read(after, SECOND_NS // 2)
    newest = snapshots.newest
    assert newest is not None
    found = dict(zip(newest.number.tolist(), snapshots.per_second("admitted").tolist(), strict=True))
    assert found == pytest.approx(naive_rates(before, after, 0.5), nan_ok=True)


@pytest.mark.parametrize("field", ["admitted_count", "throttled_count"])
def test_a_slot_reused_while_it_is_read_has_no_rate(field: str) -> None:
    connections = np.zeros((1, 3), CONNECTION)
    connections["phase"], connections["number"], connections["admitted_count"] = Phase.FAST, [[4, 5, 6]], 1000

    def give_on() -> None:
        connections["number"][0, 1], connections["admitted_count"][0, 1] = 77, 0

    snapshots = Snapshots()
    snapshots.read(connections, 0)
    connections["admitted_count"] += 50
    snapshots.read(interrupted(connections, field, give_on), SECOND_NS)
    np.testing.assert_array_equal(snapshots.per_second("admitted"), [50, np.nan, 50])


def test_a_row_is_of_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = np.zeros((1, 3), CONNECTION)
    connections["phase"], connections["number"] = Phase.FAST, [[4, 5, 6]]
    assert read_row(connections, 5, 0, 60, 120) is not None

    def give_on(*_: object) -> float:
        connections["number"][0, 1] = 77
        return 0.0

    monkeypatch.setattr(connection_card, "tokens_left", give_on)
    assert read_row(connections, 5, 0, 60, 120) is None


def test_snapshots_are_taken_four_times_a_second_and_kept_for_one() -> None:
    snapshots, connections = Snapshots(), some_connections(1)
    assert snapshots.read(connections, 0)
    assert not snapshots.read(connections, READ_INTERVAL_NS - 1)
    assert np.isnan(snapshots.per_second("dropped")).all()
    for step in range(1, 30):
        connections["throttled_count"] += 5
        assert snapshots.read(connections, step * READ_INTERVAL_NS)
    assert snapshots.per_second("dropped") == pytest.approx(20)
    assert len(snapshots._kept) <= 6


def test_lag_is_only_of_those_who_watch_and_age_of_all() -> None:
    snapshots, connections = Snapshots(), some_connections(2)
    snapshots.read(connections, 20 * SECOND_NS)
    open_rows = [row for row in connections.ravel() if row["phase"] != Phase.FREE]
    lag = [100 - row["cursor"] if row["subscribed"] else np.nan for row in open_rows]
    assert values_of("lag", snapshots, 100) == pytest.approx(np.array(lag, float), nan_ok=True)
    age = [20 - row["opened_ns"] / 1e9 for row in open_rows]
    assert values_of("age", snapshots, 100) == pytest.approx(np.array(age))
    dead = [row["phase"] == Phase.DEAD for row in open_rows]
    assert is_closing(take_snapshot(connections, 0)).tolist() == dead


@given(st.integers(1, 20_000), st.integers(200, 1600), st.integers(150, 1200))
@settings(deadline=None)
def test_all_cells_fit_and_no_larger_ones_would(count: int, width: int, height: int) -> None:
    grid = grid_for(count, width, height, 32)
    assert grid.columns * grid.rows >= min(count, width * height)
    assert grid.columns * grid.side <= width and grid.rows * grid.side <= height
    larger = grid.side + 1
    assert larger > 32 or (width // larger) * (height // larger) < count


def test_cells_are_painted_as_by_the_naive_twin() -> None:
    levels = np.arange(1, 12, dtype=np.uint8)
    for side in (1, 2, 5):
        grid = Grid(4, 3, side)
        expected = np.full((3 * side, 4 * side), ramp.LEVEL_NOBODY)
        for index, level in enumerate(levels):
            left, top = grid.corner(index)
            for y in range(side - grid.gap):
                for x in range(side - grid.gap):
                    expected[top + y, left + x] = level
                    assert grid.index_at(left + x, top + y) == index
        assert np.array_equal(paint_cells(levels, grid), expected)
    assert Grid(4, 3, 5).index_at(20, 0) is None and Grid(4, 3, 5).index_at(0, -1) is None


def test_a_connection_is_found_by_its_number_and_a_free_slot_is_none() -> None:
    connections = np.zeros((2, 5), CONNECTION)
    assert place_of(connections, 0) is None and first_number(connections) is None
    row = connections[1, 3:4]
    row["phase"], row["number"], row["received_count"], row["full_ns"] = Phase.FAST, 7, 9, SECOND_NS
    row["outbox_start"], row["outbox_end"] = 10, 25
    assert place_of(connections, 7) == (1, 3) and first_number(connections) == 7
    found = read_row(connections, 7, 0, 60, 100)
    assert found is not None
    assert (found.loop, found.phase, found.tokens, found.outbox_bytes) == (1, "fast path", 40, 15)
    assert read_row(connections, 0, 0, 60, 100) is None


# --- Journeys ---------------------------------------------------------------------------------------------------------


def test_spans_add_up_and_none_goes_backwards() -> None:
    journey = Journey(7, 1, 2, 1_000, sent_ns=1_500, read_ns=4_000, applied_ns=3_900, encoded_ns=90_000, seen_ns=80_000)
    spans = spans_of(journey)
    assert [span.name for span in spans] == ["sent", "read", "applied", "encoded", "seen"]
    assert [span.length_ns for span in spans] == [500, 2_500, 0, 86_000, 0]
    assert [span.start_ns for span in spans] == [0, 500, 3_000, 3_000, 89_000]
    assert longest(spans) == 3 and longest([]) is None
    assert total_ns(journey) == 79_000 and total_ns(Journey(7, 1, 2, 0)) is None


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=9), st.integers(20, 900))
@settings(deadline=None)
def test_lengths_fill_the_line_and_keep_the_order_of_times(times: list[int], width: int) -> None:
    marks = (1 + np.cumsum(times)).tolist()
    names = ("sent_ns", "read_ns", "decoded_ns", "admitted_ns", "applied_ns", "encoded_ns", "journaled_ns")
    fields = (*names, "fanned_out_ns", "seen_ns")
    spans = spans_of(Journey(7, 0, 0, 1, **dict(zip(fields, marks, strict=False))))
    lengths = drawn_lengths(spans, width)
    assert [span.length_ns for span in spans] == times
    assert sum(lengths) == (width if any(times) else 0)
    shortest_first = [length for _, length in sorted(zip(times, lengths, strict=True))]
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(shortest_first))


def test_the_newest_complete_journey_is_shown_first() -> None:
    seen, under_way = Journey(7, 0, 0, 1, seen_ns=5), Journey(7, 0, 0, 2, sent_ns=3)
    assert newest_complete([seen, under_way]) == seen
    assert newest_complete([under_way]) == under_way and newest_complete([]) is None
