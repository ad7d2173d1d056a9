"""A fleet that speaks MQTT: its publications, its probes, and runs through real brokers."""

import queue
from contextlib import contextmanager
from functools import partial
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.client import Server, read_canvas
from devices.config import FleetConfig, StartFleet
from devices.fleet.fleet import Fleet
from devices.kernels.frames import put_place
from devices.limits import FleetFailed
from devices.link import Drain
from devices.mqtt.mqtt import MqttLink, ViewProbes
from devices.mqtt.publisher import batches, publication_bytes, unmask
from devices.run import Run
from devices.warm import warm_kernels
from server.accept.listener import CannotListen
from server.bridge.broker import KINDS, Broker
from server.ipc.page import Page, fleet_sections
from server.kernels.kernel import compile_all
from server.kernels.layout import SEGMENT
from server.mqtt.address import BrokerAddress, parse_broker
from server.mqtt.topics import Topics
from server.protocol.messages import Delta, Place, Snapshot, Subscribe, decode_server_message
from server.system import clock, open_files
from support.brokers import PASSWORD, USER, guarded_broker
from support.serving import PATIENCE_S, Serving
from workbench.errors import UserError
from workbench.scenarios.scenario import load_scenario, scenario_text

TURN_NS = 5_000_000
NO_LIMIT = {"rate_per_s": 60_000, "burst": 60_000}
"""So high that devices which a busy machine delays, and which then publish much at once, are not throttled."""


class Joined:
    """A fleet behind a broker, driven by the test until a condition holds."""

    def __init__(self, serving, address, **changes):
        usual = {"transport": "mqtt", "connections": 24, "rate_per_s": 50.0, "frames_per_write": 4}
        self.serving, config = serving, FleetConfig(**usual | changes)
        compile_all(warm_kernels(), lambda done, total, name: None)  # A broker drops who says nothing for so long.
        self.page = Page.create(fleet_sections())
        self.row = self.page["fleet"][0]
        self.fleet = Fleet(config, serving.config.width, serving.config.height, 1, self.page)
        fetch = partial(read_canvas, Server("127.0.0.1", serving.port, "/canvas", serving.config.cert))
        self.link = MqttLink(self.fleet, address, Topics("main"), fetch)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.close(clock.now_ns())
        self.link.abandon()

    def counted(self, name):
        return int(self.row[f"{name}_count"])

    def until(self, condition):
        """Drive until the condition holds."""
        deadline_ns = clock.now_ns() + PATIENCE_S * 10**9
        while not condition():
            now_ns = clock.now_ns()
            assert now_ns < deadline_ns, (self.row, self.link.reason)
            self.link.dial(now_ns)
            self.link.drive(now_ns + TURN_NS)
            self.fleet.advance(clock.now_ns())

    def begin(self):
        self.until(lambda: self.link.is_complete)
        self.link.start(clock.now_ns())

    def finish(self):
        """Stop, and drive until all is published and seen."""
        self.fleet.stop_sending(clock.now_ns())
        self.link.settle()
        drain = Drain(self.link)
        self.until(lambda: drain.is_quiet(clock.now_ns()))

    def is_right(self):
        """Whether all who watch hold the server's canvas."""
        checked, wrong = self.link.check_viewers(self.serving.pixels)
        return checked == self.counted("subscriber") > 0 and wrong == 0


@contextmanager
def joined(broker, serving_options=(), **changes):
    """Server and fleet at the two sides of this broker."""
    with (
        Serving(mqtt=broker.address.shown, **NO_LIMIT | dict(serving_options)) as serving,
        Joined(serving, broker.address, **changes) as fleet,
    ):
        yield serving, fleet


@pytest.fixture
def mosquitto(needs_broker):
    needs_broker("mosquitto")
    broker = Broker("mosquitto")
    yield broker
    broker.close()


@pytest.fixture(scope="module")
def guarded(needs_broker, certificates):
    needs_broker("mosquitto")
    folder = certificates("broker")
    with guarded_broker(folder) as port:
        yield port, folder / "ca.pem"


class TestLimits:
    def test_too_few_open_files_name_the_limit_and_the_remedy(self, monkeypatch):
        monkeypatch.setattr(open_files, "raise_to", lambda count: 50)
        commands = queue.SimpleQueue()
        start = StartFleet(FleetConfig(transport="mqtt"), "::1", 1, "/canvas", 1, -1, -1, 8, 8, broker="mqtt://::1:1")
        fault = r"^a fleet behind a broker needs 72 open files and this process may have 50; .*: ulimit -Hn 72$"
        with pytest.raises(FleetFailed, match=fault):
            Run(start, Page.create(fleet_sections()), lambda event: None, commands).run()


class TestPublications:
    @given(st.lists(st.tuples(*[st.integers(0, 65_535)] * 2, st.integers(0, 255), st.integers(0, 2**32 - 1))))
    @settings(deadline=None)
    def test_publications_are_the_messages_in_the_frames(self, placements):
        words = np.zeros(3 * len(placements) + 5, np.uint32)
        for i, (x, y, color, mask) in enumerate(placements):
            put_place(words, 3 * i, x, y, color, mask)
        rows = unmask(words, 12 * len(placements))
        assert rows.tobytes() == b"".join(Place(x, y, color).encode() for x, y, color, _ in placements)

    def test_a_batch_is_what_its_segment_holds(self):
        segments = np.array([(7, 0, 24, 0), (3, 24, 36, 0)], SEGMENT)
        rows = unmask(np.zeros(9, np.uint32), 36)
        rows["x"] = [1, 2, 3]
        made = list(batches(rows, segments))
        assert [(device, len(payload)) for device, payload in made] == [(7, 12), (3, 6)]
        assert b"".join(payload for _, payload in made) == rows.tobytes()

    @pytest.mark.parametrize(("size", "head_bytes"), [(0, 2), (120, 2), (121, 3), (16_376, 3), (16_377, 4)])
    def test_bytes_on_the_wire(self, size, head_bytes):
        assert publication_bytes("topic", bytes(size)) == head_bytes + 2 + 5 + size


class TestViewProbes:
    def test_its_own_colour_answers_a_probe_and_another_one_drops_it(self):
        seen, probes = np.zeros((2, 3), np.uint8), ViewProbes()
        for row, device, pixel, color in ((1, 11, 4, 9), (2, 12, 0, 5), (3, 13, 2, 7)):
            assert probes.expect(row, device, pixel, color, seen)
        assert list(probes.look(seen)) == []
        seen[1, 1], seen[0, 0] = 9, 6
        assert sorted(probes.look(seen)) == [(1, True), (2, False)]
        assert probes.clear() == [3] and not probes.clear()

    def test_a_later_placement_of_the_device_answers_earlier_ones(self):
        """A server that was stalled shows the last colour alone; another device's colour answers none."""
        seen, probes = np.zeros((2, 3), np.uint8), ViewProbes()
        for row, device, color in ((1, 11, 9), (2, 11, 8), (3, 12, 7), (4, 11, 6)):
            assert probes.expect(row, device, 4, color, seen)
        seen[1, 1] = 8
        assert list(probes.look(seen)) == [(1, True), (2, True), (3, False)]
        assert list(probes.look(seen)) == []
        seen[1, 1] = 6
        assert list(probes.look(seen)) == [(4, True)]
        assert len(probes) == 0 and not probes.drop(11)

    def test_a_placement_that_changes_nothing_is_not_probed(self):
        seen, probes = np.full((2, 3), 9, np.uint8), ViewProbes()
        assert not probes.expect(1, 11, 4, 9, seen) and len(probes) == 0

    def test_a_throttled_placement_is_not_probed(self):
        seen, probes = np.zeros((2, 3), np.uint8), ViewProbes()
        probes.expect(1, 11, 4, 9, seen)
        assert probes.drop(11) == {1} and not probes.drop(11)
        seen[:] = 9
        assert list(probes.look(seen)) == []


class TestSettings:
    @pytest.mark.parametrize(
        ("override", "fault"),
        [
            ("fleet.slow_ratio=0.5", "slow_ratio is 0.5 and transport is mqtt"),
            ("fleet.churn_ratio=0.5", "leave churn_ratio out, or set transport to websocket"),
            ("fleet.region=around", "region is around"),
            ("fleet.interval_ms=50", "interval_ms is 50"),
            ("fleet.reconnect=never", "reconnect is never"),
            ("fleet.viewer_brake_us=5", "viewer_brake_us is 5"),
            ("fleet.connections=20001", "must be 0 to 20000 then"),
            ("link=memory", "set link to socket"),
            ("loop=mailbox", "a mailbox server has no bridge"),
            ("faults=[{kind='cut links'}]", "pause the broker"),
            ("fleet.transport=pigeon", "it must be websocket or mqtt"),
        ],
    )
    def test_settings_without_meaning_behind_a_broker_are_refused(self, override, fault):
        with pytest.raises(UserError) as caught:
            load_scenario("seed", ["fleet.transport=mqtt", override])
        assert fault in str(caught.value) and "\n" not in str(caught.value)

    def test_without_a_broker_the_run_starts_one(self):
        assert load_scenario("crowd", ["fleet.transport=mqtt"]).server.mqtt == "embedded"
        named = load_scenario("crowd", ["fleet.transport=mqtt", "server.mqtt=mqtt://far"])
        assert named.server.mqtt == "mqtt://far"

    def test_it_is_kept_in_a_scenario_file(self, tmp_path):
        scenario = load_scenario("mqtt_sensors")
        path = tmp_path / "mqtt_sensors.toml"
        path.write_text(scenario_text(scenario))
        assert load_scenario(str(path)) == scenario


def test_a_canvas_is_fetched_as_it_is():
    with Serving() as serving, serving.client() as client:
        client.send(Subscribe(), Place(3, 4, 9))
        client.until(Delta)
        fetched = decode_server_message(read_canvas(Server("127.0.0.1", serving.port, "/canvas")))
        assert isinstance(fetched, Snapshot) and fetched.pixels[4 * 70 + 3] == 9


def test_a_canvas_is_fetched_by_tls_from_the_server_of_this_certificate_alone(certificates):
    folders = [certificates("ours"), certificates("other")]
    ours, other = (str(folder / "cert.pem") for folder in folders)
    with Serving(cert=ours, key=str(folders[0] / "key.pem")) as serving:
        fetched = decode_server_message(read_canvas(Server("127.0.0.1", serving.port, "/canvas", ours)))
        assert isinstance(fetched, Snapshot) and len(fetched.pixels) == 70 * 45
        with pytest.raises(FleetFailed, match=f"wss://127.0.0.1:{serving.port}/canvas is not the server of") as caught:
            read_canvas(Server("127.0.0.1", serving.port, "/canvas?token=hidden", other))
        assert "\n" not in str(caught.value) and "hidden" not in str(caught.value)


def test_a_fleet_sees_the_canvas_of_a_server_that_speaks_tls(mosquitto, certificates):
    tls = {name: str(certificates("ours") / f"{name}.pem") for name in ("cert", "key")}
    with joined(mosquitto, tls) as (serving, fleet):
        fleet.begin()
        fleet.until(lambda: serving.counted("applied_count") >= 200)
        fleet.finish()
        fleet.until(fleet.is_right)


@pytest.mark.parametrize("kind", KINDS)
def test_through_each_broker_everything_is_placed_once_and_seen(kind, needs_broker):
    needs_broker(kind)
    broker = Broker(kind)
    try:
        with joined(broker) as (serving, fleet):
            fleet.begin()
            fleet.until(lambda: fleet.counted("sent") >= 600 and fleet.page["latency"].sum() > 0)
            fleet.finish()
            sent = fleet.counted("sent")
            fleet.until(lambda: serving.counted("applied_count") == sent and fleet.is_right())
            assert fleet.counted("offered") == sent and fleet.counted("abandoned") == 0
            assert serving.counted("received_count") == serving.counted("admitted_count") == sent
            assert int(serving.telemetry["server"]["ledger_gap"][0]) == 0
            assert fleet.counted("connection") == serving.counted("connection_count") == 24
            assert fleet.counted("subscriber") == 4 and fleet.counted("delta") > 0
            assert fleet.counted("lost") == fleet.counted("protocol_error") == 0
    finally:
        broker.close()


def test_the_seed_gives_the_load_that_sockets_would_have(mosquitto):
    with joined(mosquitto) as (_, fleet):
        fleet.begin()
        fleet.until(lambda: fleet.counted("sent") >= 100)
        fleet.finish()
        begun_ns, stop_ns = (int(fleet.fleet.arrays.settings[name][0]) for name in ("started_ns", "stop_ns"))
        twin = Fleet(fleet.fleet.config, 70, 45, 1, Page.create(fleet_sections()))
        for d in range(24):
            twin.set_phase(d, 4)
        twin.start(begun_ns)
        twin.publish_offered(stop_ns)
        assert int(twin.arrays.counters[0]["offered_count"]) == fleet.counted("sent")


def test_throttled_placements_are_reported_to_the_fleet(mosquitto):
    with joined(mosquitto, {"burst": 5, "rate_per_s": 1}) as (serving, fleet):
        fleet.begin()
        fleet.until(lambda: fleet.counted("sent") >= 400)
        fleet.finish()
        sent = fleet.counted("sent")
        fleet.until(
            lambda: (
                serving.counted("admitted_count") + serving.counted("throttled_count") == sent
                and fleet.counted("throttled") == serving.counted("throttled_count") > 0
            )
        )
        assert fleet.counted("throttled") > 200


def test_devices_join_and_leave_while_it_runs(mosquitto):
    with joined(mosquitto, connections=6) as (serving, fleet):
        fleet.begin()
        for count in (40, 3):
            config = FleetConfig(transport="mqtt", connections=count, rate_per_s=50.0)
            assert fleet.link.adjust(config, 1.0, clock.now_ns()) == ""
            fleet.until(lambda count=count: fleet.counted("connection") == count)
            fleet.until(lambda: serving.counted("connection_count") == 40)
        fleet.finish()
        assert fleet.counted("offered") == fleet.counted("sent") + fleet.counted("abandoned")
        fleet.until(fleet.is_right)


def test_stalled_devices_publish_everything_late(mosquitto):
    with joined(mosquitto) as (_, fleet):
        fleet.begin()
        assert fleet.link.stall(1.0, 3600.0, clock.now_ns()) == ""
        assert fleet.counted("stalled") == 24 and "pause the broker" in fleet.link.cut(0.5, clock.now_ns())
        fleet.until(lambda: fleet.counted("offered") >= 200)
        held = fleet.counted("sent")
        fleet.finish()
        assert held < fleet.counted("sent") == fleet.counted("offered") and fleet.counted("stalled") == 0


def test_a_fleet_without_viewers_receives_nothing(mosquitto):
    with joined(mosquitto, viewers="none") as (_, fleet):
        fleet.begin()
        fleet.until(lambda: fleet.counted("sent") >= 100)
        fleet.finish()
        assert fleet.counted("subscriber") == fleet.counted("delta") == 0 and fleet.page["latency"].sum() == 0
        assert fleet.link.check_viewers(fleet.serving.pixels) == (0, 0)


def test_a_broker_that_returns_finds_the_same_fleet_and_nothing_twice(mosquitto):
    with joined(mosquitto) as (serving, fleet):
        fleet.begin()
        fleet.until(lambda: serving.counted("applied_count") >= 200)
        mosquitto.close()
        fleet.until(lambda: fleet.counted("connection") == 0)
        assert fleet.counted("lost") == 24 and fleet.counted("subscriber") == 0
        again = Broker("mosquitto", port=mosquitto.address.port)
        try:
            before = serving.counted("applied_count")
            fleet.until(lambda: fleet.link.is_complete and serving.counted("applied_count") >= before + 200)
            fleet.finish()
            fleet.until(fleet.is_right)
            assert fleet.counted("reconnected") == fleet.counted("connection") == 24
            assert fleet.counted("offered") == fleet.counted("sent") + fleet.counted("abandoned")
            assert serving.counted("received_count") <= fleet.counted("sent")
            assert serving.counted("received_count") == serving.counted("applied_count")
        finally:
            again.close()


def test_a_missing_broker_is_reported(monkeypatch):
    monkeypatch.setattr("devices.mqtt.mqtt.PATIENCE_NS", 0)
    with (
        Serving() as serving,
        Joined(serving, BrokerAddress("127.0.0.1", 1)) as fleet,
        pytest.raises(FleetFailed, match=r"broker mqtt://127\.0\.0\.1:1 is not there"),
    ):
        fleet.begin()


def test_a_canvas_of_another_name_is_reported(mosquitto, monkeypatch):
    with Serving() as serving, Joined(serving, mosquitto.address) as fleet:
        fleet.until(lambda: all(gateway.is_ready for gateway in fleet.link._gateways))
        monkeypatch.setattr("devices.mqtt.mqtt.PATIENCE_NS", 0)
        with pytest.raises(FleetFailed, match="has no canvas at canvas/main/info"):
            fleet.begin()


class TestGuarded:
    """A broker with a certificate of its own CA, and a login."""

    def url(self, guarded, *, host="localhost", user=USER, password=PASSWORD, ca=True):
        port, path = guarded
        login = f"{user}:{quote(password)}@" if user else ""
        return f"mqtts://{login}{host}:{port}{f'?ca={path}' if ca else ''}"

    def test_server_and_fleet_connect_with_ca_and_login(self, guarded):
        url = self.url(guarded)
        with Serving(mqtt=url, **NO_LIMIT) as serving, Joined(serving, parse_broker(url)) as fleet:
            fleet.begin()
            fleet.until(lambda: fleet.counted("sent") >= 200)
            fleet.finish()
            sent = fleet.counted("sent")
            fleet.until(lambda: serving.counted("applied_count") == sent and fleet.is_right())

    @pytest.mark.parametrize(
        ("wrong", "line"),
        [
            ({"ca": False}, r"certificate is not trusted here .*write mqtts://\.\.\.\?ca=FILE\.pem"),
            ({"host": "127.0.0.1"}, r"certificate is not for 127\.0\.0\.1"),
            ({"password": "guess"}, "rejects user 'sensor' with this password"),
            ({"user": ""}, "requires a login"),
        ],
    )
    def test_faults_are_one_line_on_both_sides(self, guarded, wrong, line):
        url, news = self.url(guarded, **wrong), queue.Queue()
        serving = Serving(mqtt=url)
        serving.server.on_news = news.put
        with serving, Joined(serving, parse_broker(url)) as fleet:
            with pytest.raises(FleetFailed, match=line) as caught:
                fleet.begin()
            heard = news.get(timeout=PATIENCE_S)
        for line in (heard, str(caught.value)):
            assert "\n" not in line and PASSWORD not in line and "guess" not in line
        assert "is not there" in heard

    def test_a_bad_ca_file_is_reported_first(self, tmp_path):
        empty = tmp_path / "empty.pem"
        empty.touch()
        for path, line in ((tmp_path / "none.pem", "no such file"), (empty, "holds no certificate")):
            serving = Serving(mqtt=f"mqtts://localhost:1?ca={path}")
            with pytest.raises(CannotListen, match=line):
                serving.server.listen()
