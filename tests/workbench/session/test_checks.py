"""Checks at the end of a run: lost connections count as a failure unless the run asked for them."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from devices.config import FleetConfig
from server.config import ServerConfig
from workbench.scenarios.fault import Fault
from workbench.scenarios.scenario import Scenario, builtin_names, load_scenario
from workbench.session.checks import Checks
from workbench.telemetry.counters import Counters, read_counters
from workbench.telemetry.pages import SessionPages

SCENARIO = Scenario(server=ServerConfig(width=40, height=30), fleet=FleetConfig(connections=5))
LOST = "connections: {} lost, and neither a fault nor a setting asked for it"


def counters(*, lost: int = 0, evicted: int = 0, gap: int = 0, has_server: bool = True) -> Counters:
    pages = SessionPages.create(SCENARIO.server)
    try:
        pages.fleet["fleet"]["lost_count"] = lost
        pages.telemetry["loops"][0]["evicted_count"] = evicted
        pages.telemetry["server"]["ledger_gap"] = gap
        pages.telemetry["server"]["heartbeat_ns"] = has_server
        return read_counters(pages, 0, 0)
    finally:
        pages.close()


def with_server(**settings: Any) -> Scenario:
    return msgspec.structs.replace(SCENARIO, server=msgspec.structs.replace(SCENARIO.server, **settings))


def with_fleet(**settings: Any) -> Scenario:
    return msgspec.structs.replace(SCENARIO, fleet=msgspec.structs.replace(SCENARIO.fleet, **settings))


def test_nothing_failed() -> None:
    assert Checks(SCENARIO).failures(counters(evicted=3)) == []


@pytest.mark.parametrize("kind", ["kill loop clients", "pause broker"])
def test_a_fault_that_resets_connections_asks_for_their_loss(kind: Any) -> None:
    checks = Checks(SCENARIO)
    assert checks.failures(counters(lost=4)) == [LOST.format(4)]
    checks.note_fault(Fault(kind=kind))
    assert checks.failures(counters(lost=4)) == []


def test_a_stall_asks_for_no_more_than_the_server_closed() -> None:
    checks = Checks(SCENARIO)
    checks.note_fault(Fault(kind="stall devices"))
    assert checks.failures(counters(lost=4, evicted=4)) == []
    assert checks.failures(counters(lost=4, evicted=1)) == [LOST.format(3)]
    assert checks.failures(counters(lost=4, has_server=False)) == []


def test_a_cut_is_counted_elsewhere_and_asks_for_no_loss() -> None:
    checks = Checks(SCENARIO)
    checks.note_fault(Fault(kind="cut links"))
    assert checks.failures(counters(lost=1)) == [LOST.format(1)]


@pytest.mark.parametrize(
    "change",
    [
        lambda: with_server(evict_after_s=1.0),
        lambda: with_fleet(slow_ratio=0.5),
        lambda: with_fleet(viewer_brake_us=9.0),
    ],
)
def test_a_rule_asks_for_losses_also_after_it_is_off_again(change: Callable[[], Scenario]) -> None:
    checks = Checks(SCENARIO)
    checks.note_settings(change())
    checks.note_settings(SCENARIO)
    assert checks.failures(counters(lost=2, evicted=2)) == []
    assert checks.failures(counters(lost=2, evicted=0)) == [LOST.format(2)]


def test_a_rule_that_was_never_configured_asks_for_nothing() -> None:
    assert Checks(SCENARIO).failures(counters(lost=2, evicted=2)) == [LOST.format(2)]


def test_a_server_that_only_counts_has_no_ledger() -> None:
    assert Checks(SCENARIO).failures(counters(gap=5)) == ["ledger: 5 placements are unaccounted for at the end"]
    assert Checks(with_server(counts_only=True)).failures(counters(gap=5)) == []


def test_the_built_in_scenarios_that_reset_connections_say_so() -> None:
    resets = {name for name in builtin_names() for fault in load_scenario(name).faults if fault.kind.startswith("kill")}
    assert resets == {"reconnect_storm"}
