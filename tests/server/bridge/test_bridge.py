"""The bridge to MQTT: what a payload is, what waits, and real brokers between a device and the canvas."""

import asyncio
import queue
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import aiomqtt
import msgspec
import pytest
from aiomqtt.exceptions import MqttConnectError
from hypothesis import given, settings
from hypothesis import strategies as st

from server.accept.listener import CannotListen
from server.bridge.broker import KINDS, SLOW_KIND, Broker, kinds_installed
from server.bridge.broker_thread import Inbox
from server.config import ServerConfig
from server.mqtt.address import BrokerAddress, parse_broker
from server.mqtt.link import PAUSE_S_MOST, explain, ignore_broken, is_lasting, pause_s
from server.mqtt.topics import ID_BYTES_MAX, Topics, count_places
from server.protocol.messages import Delta, Hello, Place, Throttled, decode_server_message
from support.serving import PATIENCE_S, Serving
from workbench.errors import UserError
from workbench.scenarios.scenario import load_scenario, scenario_text

TOPICS = Topics("main")


class Device:
    """A device in its own thread: publishes what a test says, and keeps what it receives."""

    def __init__(self, address):
        self.heard = queue.Queue()
        self._address, self._loop = address, asyncio.new_event_loop()
        self._orders, self._failure = asyncio.Queue(), None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(PATIENCE_S), "the device reaches no broker"
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._orders.put_nowait, None)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def publish(self, topic, payload, *, retain=False):
        """Returns when the broker has it."""
        taken = threading.Event()
        self._loop.call_soon_threadsafe(self._orders.put_nowait, (topic, payload, retain, taken))
        assert taken.wait(PATIENCE_S), "the broker does not take it"

    def hear(self, kind):
        """The next message of this kind, with its topic."""
        while True:
            topic, message = self.heard.get(timeout=PATIENCE_S)
            if isinstance(message, kind):
                return topic, message

    def _run(self):
        try:
            self._loop.run_until_complete(self._live())
        except BaseException as failure:
            self._failure = failure
            self._ready.set()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())

    async def _live(self):
        async with aiomqtt.Client(self._address.host, self._address.port, identifier="testdevice") as client:
            for topic in (TOPICS.info, TOPICS.delta, TOPICS.throttled("+")):
                await client.subscribe(topic)
            listening = asyncio.create_task(self._listen(client))
            self._ready.set()
            while (order := await self._orders.get()) is not None:
                topic, payload, retain, taken = order
                await client.publish(topic, payload, qos=1, retain=retain)
                taken.set()
            listening.cancel()

    async def _listen(self, client):
        async for message in client.messages:
            self.heard.put((message.topic.value, decode_server_message(message.payload)))


@contextmanager
def bridged(address, **options):
    """A server that is joined to this broker."""
    news = queue.Queue()
    url = f"mqtt://127.0.0.1:{address.port}"
    serving = Serving(mqtt=url, **options)
    serving.server.on_news = news.put
    with serving:
        while "there" not in news.get(timeout=PATIENCE_S):
            pass
        yield serving, news


@pytest.fixture(scope="module")
def broker(needs_broker):
    broker = Broker(needs_broker())
    yield broker
    broker.close()


def places(*placements):
    return b"".join(Place(*placement).encode() for placement in placements)


@pytest.mark.parametrize(
    ("settings_", "fault"),
    [
        ({"mqtt": "x"}, "is not the URL"),
        ({"mqtt": "embedded", "loop": "mailbox"}, "a mailbox server has no bridge"),
        ({"mqtt_name": "a/b"}, "mqtt_name is 'a/b'"),
    ],
)
def test_a_server_refuses_what_it_cannot_do(settings_, fault):
    with pytest.raises((ValueError, msgspec.ValidationError), match=fault):
        ServerConfig(**settings_)


class TestFaults:
    def test_only_the_answer_to_a_connection_is_about_its_login(self):
        address = BrokerAddress("a", 1)
        for code in (4, 5):
            refused, broken = MqttConnectError(code), aiomqtt.MqttCodeError(code, "Could not publish message")
            assert is_lasting(refused) and "requires a login" in explain(address, refused)
            assert not is_lasting(broken) and "login" not in explain(address, broken)

    def test_exceptions_of_a_broken_connection_are_ignored_and_bugs_are_logged(self, caplog):
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(ignore_broken)
        for left in (aiomqtt.MqttError("disconnected"), OSError(9, "Bad file descriptor")):
            loop.call_exception_handler({"message": "never retrieved", "exception": left})
        assert not caplog.records
        loop.call_exception_handler({"message": "a bug", "exception": KeyError("a")})
        loop.close()
        assert "a bug" in caplog.text


class TestPayloads:
    @given(st.binary(max_size=60))
    @settings(deadline=None)
    def test_any_bytes_are_placements_or_nothing(self, payload):
        heads = [payload[i : i + 6] for i in range(0, len(payload), 6)]
        is_whole = bool(heads) and all(len(head) == 6 and head[0] == 1 for head in heads)
        assert count_places(payload) == (len(heads) if is_whole else 0)

    @given(st.text(max_size=80))
    @settings(deadline=None)
    def test_a_topic_names_its_device_or_none(self, device):
        is_short = len(device.encode("utf-8", "surrogatepass")) <= ID_BYTES_MAX
        assert TOPICS.device_of(TOPICS.place(device)) == (None if "/" in device else device if is_short else "")

    @pytest.mark.parametrize(
        "topic",
        [
            "",
            TOPICS.info,
            TOPICS.delta,
            TOPICS.throttled("a"),
            "canvas/x/device/a/place",
            TOPICS.places[:-2],
            "a/place",
        ],
    )
    def test_other_topics_differ_from_invalid_ids(self, topic):
        assert TOPICS.device_of(topic) is None


class TestInbox:
    def test_order_and_bounds(self):
        inbox = Inbox(places_max=3)
        for device, count in (("a", 2), ("b", 1), ("a", 1), ("b", 2)):
            inbox.put(device, places(*[(1, 1, 1)] * count))
        inbox.put("", places((1, 1, 1)))
        inbox.put("a", b"\x01")
        inbox.ignore()
        assert inbox.take_refused() == ({"a": 1, "b": 2}, 2, 1)
        assert inbox.take_refused() == ({}, 0, 0)
        assert [entry[0] for entry in inbox.take(9, 2)] == ["a"]
        inbox.put("c", places((1, 1, 1)))
        assert [(device, count) for device, _, count in inbox.take(9, 9)] == [("b", 1), ("c", 1)]

    def test_pauses_grow_to_their_maximum(self):
        assert pause_s(0, 1.0) < pause_s(3, 0.0) and pause_s(99, 1.0) == PAUSE_S_MOST


@pytest.mark.parametrize("kind", KINDS)
def test_each_broker_carries_placements_and_deltas(kind, needs_broker):
    needs_broker(kind)
    broker = Broker(kind)
    try:
        with bridged(broker.address) as (serving, _), Device(broker.address) as device:
            assert device.hear(Hello)[1] == Hello(70, 45, 32, 10, 60, 120, 0)
            device.publish(TOPICS.place("s1"), places((3, 4, 9), (69, 44, 7)))
            seen = serving.pixels.copy() * 0
            while seen[4, 3] != 9 or seen[44, 69] != 7:
                device.hear(Delta)[1].apply_to(seen)
            assert (seen == serving.pixels).all() and serving.counted("admitted_count") == 2
    finally:
        broker.close()
    with socket.socket() as probe:
        assert probe.connect_ex((broker.address.host, broker.address.port)) != 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_comes_back_to_a_broker_counts_no_errors(kind, needs_broker):
    needs_broker(kind)
    broker = Broker(kind)
    try:
        # A new client gets from amqtt what is retained where others have subscribed: the device to info, for one.
        with Device(broker.address) as device:
            for color in (1, 2):
                with bridged(broker.address) as (serving, _):
                    device.hear(Hello)
                    device.publish(TOPICS.place("a"), places((5, 5, color)))
                    while device.hear(Delta) and serving.pixels[5, 5] != color:
                        pass
                    assert serving.counted("protocol_error_count") == 0
    finally:
        broker.close()


def test_each_device_has_its_own_limit(broker):
    with bridged(broker.address, burst=5, rate_per_s=1) as (serving, _), Device(broker.address) as device:
        device.publish(TOPICS.place("greedy"), places(*[(1, 1, 1)] * 9))
        topic, report = device.hear(Throttled)
        device.publish(TOPICS.place("modest"), places((2, 2, 2)))
        while device.hear(Delta) and serving.pixels[2, 2] != 2:
            pass
        assert (topic, report.reason, report.dropped) == (TOPICS.throttled("greedy"), 1, 4)
        assert serving.counted("admitted_count") == 6 and serving.counted("throttled_count") == 4
        assert int(serving.telemetry["server"]["ledger_gap"][0]) == 0


def test_invalid_payloads_are_counted_and_have_no_effect(broker):
    bad = [b"", b"\x01", b"\x02" + bytes(5), places((1, 1, 1)) + b"\x01", bytes(70_000)]
    with bridged(broker.address) as (serving, _), Device(broker.address) as device:
        for payload in bad:
            device.publish(TOPICS.place("rogue"), payload)
        device.publish(TOPICS.place("x" * 65), places((1, 1, 1)))
        device.publish(TOPICS.place("far"), places((70, 0, 1)))
        device.publish(TOPICS.place("good"), places((5, 5, 5)))
        while device.hear(Delta) and serving.pixels[5, 5] != 5:
            pass
        assert serving.counted("protocol_error_count") == len(bad) + 1
        assert serving.counted("out_of_bounds_count") == serving.counted("admitted_count") == 1
        assert serving.counted("connection_count") == 2


def test_a_retained_placement_is_ignored(broker):
    with Device(broker.address) as device:
        device.publish(TOPICS.place("old"), places((9, 9, 9)), retain=True)
        with bridged(broker.address) as (serving, _):
            device.publish(TOPICS.place("new"), places((8, 8, 8)))
            while device.hear(Delta) and serving.pixels[8, 8] != 8:
                pass
            assert serving.pixels[9, 9] == 0 and serving.counted("received_count") == 1
            assert serving.counted("protocol_error_count") == 0 and serving.counted("ignored_count") >= 1
        device.publish(TOPICS.place("old"), b"", retain=True)


def test_a_broker_that_comes_back_is_found_and_gets_everything(needs_broker):
    needs_broker("mosquitto")
    broker = Broker("mosquitto")
    try:
        with bridged(broker.address) as (serving, news):
            with Device(broker.address) as device:
                device.publish(TOPICS.place("a"), places((3, 3, 3)))
                while device.hear(Delta) and serving.pixels[3, 3] != 3:
                    pass
            broker.close()
            assert "is gone" in news.get(timeout=PATIENCE_S)
            broker = Broker("mosquitto", port=broker.address.port)
            assert "is back after" in news.get(timeout=PATIENCE_S)
            with Device(broker.address) as device:
                device.publish(TOPICS.place("a"), places((4, 4, 4)))
                while device.hear(Delta) and serving.pixels[4, 4] != 4:
                    pass
            assert serving.counted("received_count") == serving.counted("applied_count") == 2
    finally:
        broker.close()


def test_a_broker_that_we_start_ends_with_the_process_that_started_it(needs_broker):
    needs_broker("mosquitto")
    code = (
        "from server.bridge.broker import Broker; b = Broker('mosquitto'); print(b.address.port, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        port = int(parent.stdout.readline())
        client = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        parent.kill()
        with client, suppress(ConnectionResetError):
            assert client.recv(1) == b""  # It ended: nothing else closes a connection that has sent nothing yet.


@pytest.mark.parametrize(("folder", "kinds"), [("bin", ["mosquitto"]), ("sbin", ["mosquitto"]), ("elsewhere", [])])
def test_a_broker_is_searched_on_the_path_and_in_sbin(folder, kinds, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    program = tmp_path / folder / "mosquitto"
    program.parent.mkdir()
    program.touch(mode=0o755)
    assert [kind for kind in kinds_installed() if kind != SLOW_KIND] == kinds


def test_without_a_broker_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setattr("server.bridge.broker.find_kind", lambda: "")
    with pytest.raises(CannotListen, match="install mosquitto"):
        Broker()


def test_a_stored_scenario_contains_no_login():
    scenario = load_scenario("first_light", ["server.mqtt=mqtts://me:secret@far:9"])
    assert 'mqtt = "mqtts://far:9"' in scenario_text(scenario) and scenario.server.mqtt.endswith("me:secret@far:9")


def test_a_paused_broker_continues_and_nothing_is_lost(needs_broker):
    needs_broker("mosquitto")
    states = queue.Queue()
    serving = Serving(mqtt="embedded")
    serving.server.on_broker = states.put
    with serving:
        address = parse_broker(serving.server.broker_url)
        with Device(address) as device:
            device.hear(Hello)  # From here on the server hears what is published.
            device.publish(TOPICS.place("a"), places((3, 3, 3)))
            while device.hear(Delta) and serving.pixels[3, 3] != 3:
                pass
            serving.server.pause_broker(0.3)
            while not states.get(timeout=PATIENCE_S).is_held:
                pass
            while states.get(timeout=PATIENCE_S).is_held:
                pass  # It goes on, and is connected, or gone for a moment where the machine is busy.
            device.publish(TOPICS.place("a"), places((4, 4, 4)))
            while device.hear(Delta) and serving.pixels[4, 4] != 4:
                pass
            assert serving.counted("received_count") == serving.counted("applied_count") == 2


def test_only_a_broker_that_we_start_can_be_paused():
    with pytest.raises(UserError, match=r"set server\.mqtt to embedded"):
        load_scenario("first_light", ["faults=[{kind='pause broker'}]"])
    faults = load_scenario("first_light", ["server.mqtt=embedded", "faults=[{kind='pause broker'}]"]).faults
    assert faults[0].text == "pause broker for 3 s"
