"""Limits per source address: what is rejected, what that costs, and that each way to close frees a place."""

import contextlib
import socket
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.accept.address_limits import (
    BURST_S,
    IDLE_SOURCES_MAX,
    TOO_FAST,
    TOO_MANY_CONNECTIONS,
    AddressLimits,
    Refusal,
)
from server.config import ServerConfig
from server.system.clock import now_ns
from support.serving import PATIENCE_S, Client, Serving

LOOPS = ["native", "portable"]
SECOND_NS = 1_000_000_000


def rules(connections=0, handshakes=0, **others):
    return ServerConfig(connections_per_address_max=connections, handshakes_per_address_per_s=handshakes, **others)


def is_accepted(sources, host, now_ns=0):
    """Whether a connection from there is accepted. It is closed at once."""
    with contextlib.closing(socket.socket()) as accepted:
        taken = sources.take_in(accepted, host, now_ns)
        if not isinstance(taken, Refusal):
            taken.close()
        return not isinstance(taken, Refusal)


class TestSources:
    def test_the_number_at_once_is_limited(self):
        sources = AddressLimits(rules(connections=2))
        held = [sources.take_in(socket.socket(), "192.0.2.1", 0) for _ in range(2)]
        with socket.socket() as third:
            assert sources.take_in(third, "192.0.2.1", 0) is TOO_MANY_CONNECTIONS
            assert third.fileno() >= 0, "answering and closing is left to the caller"
        assert is_accepted(sources, "192.0.2.2")
        held.pop().close()
        assert is_accepted(sources, "192.0.2.1") and sources.held_count == 1
        held.pop().close()
        assert sources.held_count == 0

    def test_a_place_is_freed_once(self):
        sources = AddressLimits(rules(connections=5))
        one, _other = (sources.take_in(socket.socket(), "192.0.2.1", 0) for _ in range(2))
        one.close()
        one.close()
        with one:
            pass
        assert sources.held_count == 1
        _other.close()

    @settings(deadline=None, max_examples=40)
    @given(per_s=st.integers(1, 1000), pauses_ms=st.lists(st.integers(0, 700), max_size=60))
    def test_the_pace_is_that_of_a_bucket(self, per_s, pauses_ms):
        """Against the obvious form: tokens that grow with time."""
        sources, now_ns = AddressLimits(rules(handshakes=per_s)), 0
        token_ns = SECOND_NS // per_s
        tokens_ns = most_ns = BURST_S * per_s * token_ns
        for pause_ms in pauses_ms:
            now_ns += pause_ms * 1_000_000
            tokens_ns = min(most_ns, tokens_ns + pause_ms * 1_000_000)
            is_in_pace = tokens_ns >= token_ns
            tokens_ns -= token_ns * is_in_pace
            assert is_accepted(sources, "192.0.2.1", now_ns) is is_in_pace

    def test_the_rate_is_checked_before_the_number(self):
        sources = AddressLimits(rules(connections=1, handshakes=1))
        held = sources.take_in(socket.socket(), "192.0.2.1", 0)
        with socket.socket() as other:
            assert sources.take_in(other, "192.0.2.1", 0) is TOO_MANY_CONNECTIONS
            assert sources.take_in(other, "192.0.2.1", 0) is TOO_FAST
            assert sources.take_in(other, "192.0.2.1", SECOND_NS) is TOO_MANY_CONNECTIONS
        held.close()

    @pytest.mark.parametrize(
        ("one", "other", "are_same"),
        [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
            ("fe80::1%eth0", "fe80::2", True),
            ("192.0.2.1", "192.0.2.2", False),
        ],
    )
    def test_what_counts_as_one_address(self, one, other, are_same):
        sources = AddressLimits(rules(connections=1))
        held = sources.take_in(socket.socket(), one, 0)
        assert is_accepted(sources, other) is not are_same
        held.close()

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
    def test_this_machine_has_no_limits_unless_asked_for(self, host):
        free, bound = AddressLimits(rules(handshakes=1)), AddressLimits(rules(handshakes=1, limits_loopback=True))
        assert all(is_accepted(free, host) for _ in range(10)) and free.remembered_count == 0
        assert [is_accepted(bound, host) for _ in range(3)] == [True, True, False]

    def test_without_limits_all_are_accepted(self):
        sources = AddressLimits(rules())
        assert all(is_accepted(sources, "192.0.2.1") for _ in range(1000)) and sources.remembered_count == 0

    def test_memory_is_bounded_and_the_longest_idle_are_forgotten_first(self):
        sources = AddressLimits(rules(handshakes=1))
        for number in range(IDLE_SOURCES_MAX):
            is_accepted(sources, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        is_accepted(sources, "10.0.0.0")
        assert not is_accepted(sources, "10.0.0.0")
        is_accepted(sources, "192.0.2.1")  # 10.0.0.1, idle for longest, is forgotten for it.
        assert sources.remembered_count == IDLE_SOURCES_MAX
        assert not is_accepted(sources, "10.0.0.0") and [is_accepted(sources, "10.0.0.1") for _ in range(3)] == [
            True,
            True,
            False,
        ]


def from_address(port, host):
    """A client whose address is `host`, of this machine's loopback."""
    client = Client.__new__(Client)
    client.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S, source_address=(host, 0))
    client._buffer = bytearray()
    return client


def while_patient():
    """Yield until it has taken too long, which fails."""
    deadline_ns = now_ns() + PATIENCE_S * SECOND_NS
    while now_ns() < deadline_ns:
        yield
    pytest.fail("what is waited for does not come")


def first_is_accepted(serving):
    """An open client, as soon as there is a place for it."""
    for _ in while_patient():
        client = Client(serving.port)
        with contextlib.suppress(ConnectionError, AssertionError):  # Rejected, or the answer to that lost.
            client.open()
            return client
        client.socket.close()
    return None


class TestServed:
    @pytest.mark.parametrize("kind", LOOPS)
    def test_many_connections_from_one_address_do_not_keep_others_out(self, kind):
        limits = {"connections_per_address_max": 2, "limits_loopback": True}
        with Serving(loop=kind, **limits) as serving, serving.client() as good, serving.client() as other:
            with Client(serving.port) as third:
                answer = third.ended()
            assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 10" in answer
            with from_address(serving.port, "127.0.0.2") as elsewhere:
                elsewhere.send_raw(b"GET /palette.json HTTP/1.1\r\nHost: a\r\n\r\n")
                assert elsewhere.ended().startswith(b"HTTP/1.1 200 ")
            good.serve_until(lambda: serving.counted("crowded_out_count") == 1)
            other.ping()

    @pytest.mark.parametrize("kind", LOOPS)
    @pytest.mark.parametrize("way", ["in order", "reset", "by the server", "in the handshake"])
    def test_every_way_to_end_frees_the_place(self, kind, way):
        """There is one place, which is taken again and again."""
        limits = {"connections_per_address_max": 1, "handshakes_per_address_per_s": 0, "limits_loopback": True}
        with Serving(loop=kind, handshake_s=0.1 if way == "in the handshake" else 500, **limits) as serving:
            for _ in range(3):
                if way == "in the handshake":
                    self._keep_silent(serving)
                    continue
                client = first_is_accepted(serving)
                if way == "reset":
                    client.reset()
                    continue
                if way == "by the server":
                    serving.server.close_clients(0)
                else:
                    client.send_raw(b"\x88\x82\x00\x00\x00\x00\x03\xe8")
                client.ended()
                client.socket.close()

    @staticmethod
    def _keep_silent(serving):
        """Connect, send nothing, and be closed for that."""
        for _ in while_patient():
            with Client(serving.port) as silent:
                if not silent.ended().startswith(b"HTTP/1.1 503 "):
                    return

    @pytest.mark.parametrize("kind", LOOPS)
    def test_connections_above_the_rate_get_429(self, kind):
        with Serving(loop=kind, handshakes_per_address_per_s=1, limits_loopback=True) as serving:
            for _ in while_patient():
                with Client(serving.port) as client:
                    client.socket.shutdown(socket.SHUT_WR)
                    if answer := client.ended():
                        break
            assert answer.startswith(b"HTTP/1.1 429 ") and b"Retry-After: 1" in answer
        assert serving.counted("hurried_out_count") >= 1

    def test_behind_tls_they_are_only_closed(self, certificates):
        ca, cert, key = (str(certificates("ours") / f"{name}.pem") for name in ("ca", "cert", "key"))
        trusting = ssl.create_default_context(cafile=ca)
        limits = {"connections_per_address_max": 1, "handshakes_per_address_per_s": 0, "limits_loopback": True}
        with Serving(cert=cert, key=key, **limits) as serving:
            with serving.client(tls=trusting) as good:
                with Client(serving.port) as other:
                    assert other.ended() == b""
                good.serve_until(lambda: serving.counted("crowded_out_count") == 1)
                good.reset()
            for _ in while_patient():  # Until the place is free again.
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    serving.client(tls=trusting).socket.close()
                    break
