"""A fleet under changing settings and faults at a real server: viewers end with its canvas, and the counts add up."""

import threading

import msgspec
import numpy as np
import pytest

from devices.config import FleetConfig
from devices.fleet.fleet import Fleet
from devices.kernels.layout import Phase
from devices.limits import FleetFailed, fit_connections, raise_open_files
from devices.link import Drain
from devices.sockets import dialer as dialers
from devices.sockets.dialer import Dialer
from devices.warm import warm_kernels
from server.ipc.page import Page, fleet_sections
from server.kernels.kernel import compile_all
from server.system.clock import now_ns
from support.serving import PATIENCE_S, Serving

MS = 1_000_000
CONFIG = FleetConfig(connections=24, rate_per_s=40, frames_per_write=3, connect_per_s=5000)
KNOBS = {
    "connections": [4, 24, 60],
    "rate_per_s": [0.0, 15.0, 120.0],
    "frames_per_write": [1, 5, 20],
    "arrivals": ["periodic", "poisson", "bursty"],
    "burst_ratio": [1.0, 9.0],
    "pattern": ["sensor_field", "image", "life", "hotspot", "noise"],
    "viewers": ["all", "none", 3],
    "region": ["whole", "around"],
    "interval_ms": [0, 35, 200],
    "slow_ratio": [0.0, 0.4],
    "greedy_ratio": [0.0, 0.5],
    "greedy_factor": [2.0, 8.0],
    "churn_ratio": [0.0, 0.6],
    "churn_s": [0.5, 1.0],
    "reconnect": ["at_once", "backoff"],
    "viewer_brake_us": [0.0, 200.0],
}


class Driven:
    """A fleet over sockets, driven by hand until a condition holds."""

    def __init__(self, serving, config=CONFIG, seed=5):
        page = Page.create(fleet_sections())
        self.serving, self.counters = serving, page["fleet"][0]
        width, height = serving.config.width, serving.config.height
        self.fleet = Fleet(config, width, height, seed, page)
        self.dialer = Dialer(self.fleet, "127.0.0.1", serving.port, "/canvas", raise_open_files(config.connections))

    def __enter__(self):
        self.until(lambda: self.dialer.is_complete)
        self.dialer.start(now_ns())
        return self

    def __exit__(self, *_):
        self.dialer.abandon()

    def until(self, condition, *, dials=True):
        deadline_ns = now_ns() + PATIENCE_S * 1_000 * MS
        while not condition():
            self.dialer.drive(now_ns() + 2 * MS)
            at_ns = now_ns()
            assert at_ns < deadline_ns, "what is waited for does not come"
            if dials:
                self.dialer.dial(at_ns)
            self.dialer.watch_deadlines(at_ns)
            self.fleet.advance(at_ns)
            if self.dialer.is_empty(at_ns):
                raise FleetFailed(self.dialer.reason)

    def until_more(self, name, count=1):
        wanted = int(self.counters[name]) + count
        self.until(lambda: self.counters[name] >= wanted)

    def turn(self, rate_factor=1.0, **changes):
        config = msgspec.structs.replace(self.fleet.config, **changes)
        return self.dialer.adjust(config, rate_factor, now_ns())

    def settled_count(self):
        """Open devices, once all that should be are open, no one is closing, and each that reads has a canvas."""
        fast_count = np.count_nonzero(self.fleet.arrays.devices["phase"] == Phase.FAST)
        is_settled = self.dialer.is_complete and fast_count == self.dialer.open_count
        return fast_count if is_settled else -1

    def end(self):
        """Stop sending, wait until everything is seen, compare: (checked, wrong)."""
        self.fleet.stop_sending(now_ns())
        self.dialer.settle()
        drain = Drain(self.dialer)
        self.until(lambda: drain.is_quiet(now_ns()), dials=False)
        self.until(lambda: self.dialer.check_viewers(self.serving.pixels)[1] == 0, dials=False)
        self.adds_up()
        return self.dialer.check_viewers(self.serving.pixels)

    def adds_up(self):
        self.fleet.publish_offered(now_ns())
        counters = self.counters
        owed = self.fleet.owed_count()
        assert counters["offered_count"] == counters["sent_count"] + owed + counters["abandoned_count"]
        assert counters["protocol_error_count"] == 0, self.dialer.reason


@pytest.fixture(scope="module", autouse=True)
def compiled():
    compile_all(warm_kernels(), lambda done, total, name: None)


@pytest.fixture
def serving():
    with Serving() as server:
        yield server


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_knobs_in_any_order_leave_every_viewer_right(serving, seed):
    random = np.random.default_rng(seed)
    with Driven(serving, seed=seed) as driven:
        for _ in range(25):
            names = random.choice(list(KNOBS), 2, replace=False)
            changes = {str(name): KNOBS[name][random.integers(len(KNOBS[name]))] for name in names}
            driven.turn(float(random.choice([0.5, 1.0, 2.0])), **changes)
            match random.integers(4):
                case 0:
                    driven.dialer.stall(0.3, 0.1, now_ns())
                case 1:
                    driven.dialer.cut(0.2, now_ns())
            before = driven.serving.tick
            driven.until(lambda before=before: driven.serving.tick >= before + 5)
            driven.adds_up()
        driven.turn(
            viewers="all", slow_ratio=0.0, rate_per_s=30.0, churn_ratio=0.0, connections=30, viewer_brake_us=0.0
        )
        driven.until(lambda: driven.settled_count() == 30)
        driven.until_more("sent_count", 100)
        checked, wrong = driven.end()
    assert (checked, wrong) == (30, 0)
    assert driven.counters["lost_count"] == 0


def test_ramp_up_and_down_in_order(serving):
    with Driven(serving) as driven:
        driven.turn(connections=70, connect_per_s=400)
        driven.until(lambda: driven.settled_count() == 70)
        assert serving.counted("connection_count") == 70
        driven.turn(connections=7)
        driven.until(lambda: driven.settled_count() == 7)
        driven.until_more("sent_count", 20)
        assert driven.end() == (7, 0)
    counters = driven.counters
    assert counters["lost_count"] == counters["churned_count"] == counters["reconnected_count"] == 0
    assert counters["device_count"] == 7


def test_churning_devices_leave_and_reconnect(serving):
    with Driven(serving, msgspec.structs.replace(CONFIG, churn_ratio=1.0, churn_s=0.5)) as driven:
        driven.until_more("reconnected_count", 40)
        driven.turn(churn_ratio=0.0)
        driven.until(lambda: driven.settled_count() == CONFIG.connections)
        assert driven.end() == (CONFIG.connections, 0)
    assert driven.counters["lost_count"] == 0
    assert driven.counters["churned_count"] >= driven.counters["reconnected_count"] >= 40


def test_cut_devices_are_counted_separately_and_reconnect(serving):
    with Driven(serving, msgspec.structs.replace(CONFIG, reconnect="at_once")) as driven:
        driven.dialer.cut(0.5, now_ns())
        assert (driven.counters["cut_count"], driven.counters["connection_count"]) == (12, 12)
        driven.until(lambda: driven.settled_count() == CONFIG.connections)
        driven.until_more("sent_count", 50)
        assert driven.end() == (CONFIG.connections, 0)
    assert (driven.counters["lost_count"], driven.counters["reconnected_count"]) == (0, 12)


def test_server_that_resets_its_clients_loses_them_for_a_moment(serving):
    with Driven(serving, msgspec.structs.replace(CONFIG, reconnect="at_once")) as driven:
        serving.server.close_clients(0)
        driven.until_more("reconnected_count", CONFIG.connections)
        assert (driven.counters["lost_count"], driven.counters["cut_count"]) == (CONFIG.connections, 0)
        driven.until_more("sent_count", 50)
        driven.until(lambda: driven.settled_count() == CONFIG.connections)
        assert driven.end() == (CONFIG.connections, 0)


def test_cut_devices_that_never_reconnect_stay_away_until_the_policy_changes(serving):
    with Driven(serving, msgspec.structs.replace(CONFIG, reconnect="never")) as driven:
        driven.dialer.cut(0.25, now_ns())
        driven.until_more("sent_count", 50)
        assert driven.settled_count() == 18
        driven.turn(reconnect="at_once")
        driven.until(lambda: driven.settled_count() == CONFIG.connections)


def test_stalled_devices_send_late_what_they_intended(serving):
    with Driven(serving) as driven:
        driven.dialer.stall(1.0, 3600, now_ns())
        assert driven.counters["stalled_count"] == CONFIG.connections
        sent = int(driven.counters["sent_count"])
        driven.until_more("offered_count", 300)
        assert driven.counters["sent_count"] == sent
        driven.adds_up()
        assert driven.end() == (CONFIG.connections, 0)
    assert driven.counters["stalled_count"] == driven.counters["abandoned_count"] == 0
    assert driven.counters["sent_count"] == driven.counters["offered_count"] >= sent + 300


def test_stall_ends_by_itself(serving):
    with Driven(serving) as driven:
        driven.dialer.stall(0.5, 0.05, now_ns())
        assert driven.counters["stalled_count"] == 12
        driven.until(lambda: driven.counters["stalled_count"] == 0)
        driven.until(lambda: not driven.fleet.arrays.devices["stalled"].any())
        driven.until_more("sent_count", 50)
        assert driven.end() == (CONFIG.connections, 0)


def test_views_change_while_deltas_flow(serving):
    with Driven(serving) as driven:
        for changes in (
            {"region": "around"},
            {"interval_ms": 15},
            {"viewers": "none"},
            {"viewers": 9},
            {"region": "whole"},
            {"slow_ratio": 1.0},
        ):
            driven.turn(**changes)
            driven.until_more("sent_count", 20)
        assert driven.counters["subscriber_count"] == 0
        driven.turn(slow_ratio=0.0)
        driven.until(lambda: driven.counters["subscriber_count"] == 9)
        assert driven.end() == (9, 0)


def test_viewers_ask_for_their_interval(serving):
    """From the start, and again when it changes."""
    rows = serving.connections["connections"].reshape(-1)

    def asked_ns():
        return set(rows["interval_ns"][rows["subscribed"] == 1].tolist())

    with Driven(serving, msgspec.structs.replace(CONFIG, interval_ms=20)) as driven:
        driven.until(lambda: driven.counters["subscriber_count"] == CONFIG.connections)
        assert asked_ns() == {20 * MS}
        driven.turn(interval_ms=65)
        driven.until(lambda: asked_ns() == {65 * MS})
        assert driven.end() == (CONFIG.connections, 0)


def test_braked_viewers_still_send_and_see(serving):
    with Driven(serving) as driven:
        driven.turn(viewer_brake_us=500.0)
        driven.until_more("delta_count", 200)
        driven.until_more("sent_count", 100)
        assert driven.end() == (CONFIG.connections, 0)


def test_more_connections_than_fit_are_limited(serving, monkeypatch):
    monkeypatch.setattr(dialers, "fit_connections", lambda count: (min(count, 30), "raise it"))
    with Driven(serving) as driven:
        note = driven.turn(connections=500, viewers=400)
        assert note == "500 connections asked for, 30 fit: raise it"
        driven.until(lambda: driven.settled_count() == 30)


def test_what_fits_is_reported_with_its_remedy():
    assert fit_connections(5) == (5, "")
    fits, remedy = fit_connections(10**9)
    assert 0 < fits < 10**9 and ("ulimit" in remedy or "ip_local_port_range" in remedy)


def test_a_server_that_is_gone_ends_the_run(monkeypatch):
    monkeypatch.setattr(dialers, "NO_CONNECTION_NS", 1)
    with Serving() as serving, Driven(serving, msgspec.structs.replace(CONFIG, reconnect="at_once")) as driven:
        stopping = threading.Thread(target=serving.stop)
        stopping.start()
        with pytest.raises(FleetFailed):
            driven.until(lambda: False)
        stopping.join(PATIENCE_S)
        assert driven.counters["refused_count"] > 0
        assert driven.counters["lost_count"] == CONFIG.connections
        assert not (driven.fleet.arrays.devices["phase"] == Phase.FAST).any()


def test_a_fleet_that_stops_after_its_server_does_not_wait_for_pending_connects(monkeypatch):
    monkeypatch.setattr(dialers, "NO_CONNECTION_NS", 3_600_000 * MS)
    with Serving() as serving, Driven(serving, msgspec.structs.replace(CONFIG, reconnect="at_once")) as driven:
        stopping = threading.Thread(target=serving.stop)
        stopping.start()
        driven.until(lambda: driven.dialer._refused_since_ns and driven.dialer._pending)
        stopping.join(PATIENCE_S)
        assert not driven.dialer.is_empty(now_ns())
        driven.dialer.settle()
        assert driven.dialer.is_empty(now_ns())
