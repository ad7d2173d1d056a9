"""A session with fake parts, shared by the tests of sessions."""

import sys
from collections.abc import Callable
from pathlib import Path

from devices.config import FleetConfig
from server.config import ServerConfig
from server.system import clock
from support.serving import PATIENCE_S
from workbench.address import Address
from workbench.scenarios.scenario import Scenario
from workbench.session.session import Session

FAKE = str(Path(__file__).parent / "fake_part.py")


SCENARIO = Scenario(name="small", server=ServerConfig(width=40, height=30), fleet=FleetConfig(connections=5))


def commands(**manners: str) -> dict[str, list[str]]:
    parts = ("server", "fleet", "panels")
    return {part: [sys.executable, FAKE, part, manners.get(part, "good")] for part in parts}


def make(*, with_panels: bool = False, address: Address | None = None, **manners: str) -> Session:
    return Session(SCENARIO, with_panels=with_panels, address=address, commands=commands(**manners))


def pump(session: Session, condition: Callable[[], bool]) -> None:
    """Poll until the condition holds; fail when it never does."""
    deadline_ns = clock.now_ns() + PATIENCE_S * 10**9
    while not condition():
        assert clock.now_ns() < deadline_ns, session.view()
        session.wait(1)
        session.poll(clock.now_ns())


def started(session: Session) -> Session:
    session.start(clock.now_ns())
    return session
