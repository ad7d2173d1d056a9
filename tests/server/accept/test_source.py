"""Limits per source address: who is turned away, what that costs, and that every way to close gives a place back."""

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


def let_in(sources, host, now_ns=0):
    """Whether a connection from there is let in, which is closed at once."""
    with contextlib.closing(socket.socket()) as accepted:
        taken = sources.take_in(accepted, host, now_ns)
        if not isinstance(taken, Refusal):
            taken.close()
        return not isinstance(taken, Refusal)


class TestSources:
    def test_so_many_at_once(self):
        sources = AddressLimits(rules(connections=2))
        held = [sources.take_in(socket.socket(), "192.0.2.1", 0) for _ in range(2)]
        with socket.socket() as third:
            assert sources.take_in(third, "192.0.2.1", 0) is TOO_MANY_CONNECTIONS
            assert third.fileno() >= 0, "it is the caller's to tell why and close"
        assert let_in(sources, "192.0.2.2")
        held.pop().close()
        assert let_in(sources, "192.0.2.1") and sources.held_count == 1
        held.pop().close()
        assert sources.held_count == 0

    def test_a_place_is_given_back_once(self):
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
            is_let_in = tokens_ns >= token_ns
            tokens_ns -= token_ns * is_let_in
            assert let_in(sources, "192.0.2.1", now_ns) is is_let_in

    def test_who_is_too_fast_is_told_so_before_who_is_too_many(self):
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
        assert let_in(sources, other) is not are_same
        held.close()

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
    def test_this_machine_has_no_limits_unless_asked_for(self, host):
        free, bound = AddressLimits(rules(handshakes=1)), AddressLimits(rules(handshakes=1, limits_loopback=True))
        assert all(let_in(free, host) for _ in range(10)) and free.remembered_count == 0
        assert [let_in(bound, host) for _ in range(3)] == [True, True, False]

    def test_without_limits_all_are_let_in(self):
        sources = AddressLimits(rules())
        assert all(let_in(sources, "192.0.2.1") for _ in range(1000)) and sources.remembered_count == 0

    def test_what_is_remembered_is_bounded_and_the_longest_idle_go_first(self):
        sources = AddressLimits(rules(handshakes=1))
        for number in range(IDLE_SOURCES_MAX):
            let_in(sources, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        let_in(sources, "10.0.0.0")
        assert not let_in(sources, "10.0.0.0")
        let_in(sources, "192.0.2.1")  # For which 10.0.0.1 is forgotten, who was idle for longest.
        assert sources.remembered_count == IDLE_SOURCES_MAX
        assert not let_in(sources, "10.0.0.0") and [let_in(sources, "10.0.0.1") for _ in range(3)] == [
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


def first_let_in(serving):
    """An open client, as soon as there is a place for it."""
    for _ in while_patient():
        client = Client(serving.port)
        with contextlib.suppress(ConnectionError, AssertionError):  # Turned away, or the answer to that lost.
            client.open()
            return client
        client.socket.close()
    return None


class TestServed:
    @pytest.mark.parametrize("kind", LOOPS)
    def test_a_crowd_from_one_address_keeps_nobody_else_out(self, kind):
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
    def test_every_way_to_end_gives_the_place_back(self, kind, way):
        """There is one place, which is taken again and again."""
        limits = {"connections_per_address_max": 1, "handshakes_per_address_per_s": 0, "limits_loopback": True}
        with Serving(loop=kind, handshake_s=0.1 if way == "in the handshake" else 500, **limits) as serving:
            for _ in range(3):
                if way == "in the handshake":
                    self._keep_silent(serving)
                    continue
                client = first_let_in(serving)
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
        """Be let in, say nothing, and be sent away for that."""
        for _ in while_patient():
            with Client(serving.port) as silent:
                if not silent.ended().startswith(b"HTTP/1.1 503 "):
                    return

    @pytest.mark.parametrize("kind", LOOPS)
    def test_who_comes_too_fast_is_told_to_wait(self, kind):
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
