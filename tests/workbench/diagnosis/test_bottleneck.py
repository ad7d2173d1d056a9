"""A real server under a real fleet: the stage that is braked is named, until the brake is released.

One session serves all cases, turned as a person would turn it. Each waits for what must come, never for a time.
"""

from collections.abc import Callable, Iterator

import pytest

from devices.config import FleetConfig
from server.config import ServerConfig
from server.system import clock
from support.serving import PATIENCE_S
from workbench.scenarios.scenario import Scenario
from workbench.session.session import Session

COMPILE_S = 600
"""For the first start, which compiles, also on a busy machine."""

SCENARIO = Scenario(
    name="braked",
    server=ServerConfig(width=96, height=96, rate_per_s=2000, burst=4000, tick_ms=50, connections_max=400),
    fleet=FleetConfig(
        connections=150, rate_per_s=40.0, arrivals="poisson", pattern="noise", churn_s=0.5, connect_per_s=20_000
    ),
)
"""6,000 placements per second, each a write of its own, and 3,000 deltas: little for a server without brakes."""

TURNS: dict[str, dict[str, float]] = {
    "accept": {"server.brakes.accept.batch_ms": 100, "fleet.churn_ratio": 1},
    "read": {"server.brakes.read.item_us": 500},
    "decode": {"server.brakes.decode.item_us": 500},
    "admit": {"server.brakes.admit.item_us": 500},
    "apply": {"server.brakes.apply.item_us": 500},
    "encode": {"server.brakes.encode.batch_ms": 300},
    "fan-out": {"server.brakes.fan_out.item_us": 500},
    "viewers": {"fleet.viewer_brake_us": 500},
}


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    running = Session(SCENARIO, with_panels=False)
    running.start(clock.now_ns())
    try:
        pump(running, lambda name: running.load_started_ns > 0 and name != "", COMPILE_S)
        yield running
    finally:
        running.end()
        running.close()


def pump(session: Session, is_found: Callable[[str], bool], seconds: float = PATIENCE_S) -> None:
    """Poll until the bottleneck's name is as asked; fail with the evidence if it never is."""
    deadline_ns = clock.now_ns() + int(seconds * 1e9)
    while not is_found(session.view().diagnosis.bottleneck):
        assert not session.failed, session.failures
        assert clock.now_ns() < deadline_ns, (session.view().diagnosis, session.view().stages)
        session.wait(1)
        session.poll(clock.now_ns())


@pytest.mark.parametrize("stage", TURNS)
def test_a_braked_stage_is_named_and_clears(session: Session, stage: str) -> None:
    pump(session, lambda name: name != stage)
    for key, value in TURNS[stage].items():
        session.controls.set(key, value, clock.now_ns())
    pump(session, lambda name: name == stage)
    assert session.view().diagnosis.sentence
    session.controls.reset(clock.now_ns())
    pump(session, lambda name: name != stage)


def test_no_placement_was_lost(session: Session) -> None:
    assert session.view().reading.ledger_gap == 0
