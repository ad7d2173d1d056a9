"""TLS: the same server behind it, what bad handshakes get, and that open connections notice none of them."""

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess

import numpy as np
import pytest
import websockets

from server.accept.listener import CannotListen, connections_allowed
from server.config import ServerConfig
from server.protocol.messages import Place, Snapshot, Subscribe
from server.protocol.websocket import CloseCode
from server.system import open_files
from server.tls.certificate import load_context
from server.tls.stream import ANSWERS_BYTES_MAX, CHUNK_BYTES, Broken, TlsStream
from support.braking import wait_until
from support.serving import Client, Serving

LOOPS = ["native", "portable"]
LONG_S = 500.0
"""Longer than any test waits."""


@pytest.fixture(scope="module")
def folder(certificates):
    """Where ca.pem, cert.pem and key.pem are."""
    return certificates("ours")


@pytest.fixture(scope="module")
def trusting(folder):
    """What a client needs to trust the server."""
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


def tls_settings(folder, **settings):
    return {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")} | settings


@pytest.fixture(scope="module", params=LOOPS)
def serving(request, folder):
    with Serving(loop=request.param, echo=True, handshake_s=LONG_S, **tls_settings(folder)) as serving:
        yield serving


class TestClients:
    def test_paint_view_and_close(self, serving, trusting):
        with serving.client(tls=trusting) as client:
            client.send(Subscribe(), Place(1, 2, 3))
            client.ping()
            client.serve_until(lambda: client.pixels[2, 1] == 3)
            assert np.array_equal(client.pixels, serving.pixels)
            client.send_raw(b"\x88\x82\x00\x00\x00\x00\x03\xe8")
            assert client.closed()[0] == CloseCode.NORMAL
            assert client.ended() == b""

    @pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 3_000_000])
    def test_messages_of_any_size_come_whole(self, serving, trusting, size):
        async def echo():
            url = f"wss://localhost:{serving.port}/echo"
            async with websockets.connect(url, ssl=trusting, max_size=None, compression=None) as client:
                data = os.urandom(size)
                await client.send(data)
                assert await client.recv() == data
            return client.close_code

        assert asyncio.run(echo()) == 1000

    @pytest.mark.parametrize(("path", "said"), [("/healthz", "ok"), ("/metrics", "pixelcanvas_"), ("/", "<!doctype")])
    def test_curl_gets_pages(self, serving, folder, needs_program, path, said, monkeypatch):
        monkeypatch.setattr("server.web.routes.TICK_SLACK_NS", int(LONG_S * 1e9))  # It is well, however late its ticks.
        wait_until(lambda: serving.tick > 0)
        curl = [needs_program("curl", "apt-get install curl"), "--silent", "--show-error", "--fail-with-body"]
        url = f"https://localhost:{serving.port}{path}"
        command = [*curl, "--cacert", str(folder / "ca.pem"), url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.lower().startswith(said) or said in done.stdout

    def test_plain_http_gets_an_answer(self, serving):
        with Client(serving.port) as client:
            client.send_raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = client.ended()
        assert answer.startswith(b"HTTP/1.1 400 ") and b"https://" in answer

    def test_two_hundred_at_once(self, serving, trusting):
        clients = [serving.client(tls=trusting) for _ in range(200)]
        for client in clients:
            client.ping()
        for client in clients:
            client.socket.close()

    def test_a_client_that_is_gone_is_gone_behind_it_too(self, serving, trusting):
        with serving.client(tls=trusting) as good:
            good.serve_until(lambda: serving.counted("connection_count") == 1)
            bad = serving.client(tls=trusting)
            good.serve_until(lambda: serving.counted("connection_count") == 2)
            bad.reset()
            good.serve_until(lambda: serving.counted("connection_count") == 1)


def test_a_copy_of_its_sockets_in_a_starting_process_does_no_harm(folder, trusting):
    with Serving(**tls_settings(folder)) as serving, serving.client(tls=trusting) as good:
        bad = serving.client(tls=trusting)
        held = [end for stream in serving.server._tls._streams for end in (stream.outer, stream.inner)]
        copies = [os.dup(end.fileno()) for end in held]
        bad.send(Place(1, 1, 1))
        bad.socket.close()
        good.serve_until(lambda: serving.counted("connection_count") == 1)
        with serving.client(tls=trusting) as another:
            another.ping()
        for copy in copies:
            os.close(copy)
        good.ping()


class TestBadHandshakes:
    @pytest.mark.parametrize(
        "data", [b"\x16\x03\x01\xff\xff" + bytes(995), b"\x00" * 100, b"\x16\x03\x01\x00\x05junk!"]
    )
    def test_no_tls_is_ended(self, serving, trusting, data):
        with serving.client(tls=trusting) as good:
            failed = int(serving.telemetry["server"]["tls_failed_count"][0])
            with Client(serving.port) as bad:
                bad.socket.sendall(data)
                bad.ended()
            good.serve_until(lambda: serving.telemetry["server"]["tls_failed_count"][0] > failed)

    @pytest.mark.parametrize("kind", LOOPS)
    def test_an_unfinished_one_is_ended_in_time(self, folder, kind):
        with Serving(**tls_settings(folder, loop=kind, handshake_s=0.2)) as serving:
            for start in (b"", b"\x16\x03\x01\x00\xff\x01"):
                with Client(serving.port) as bad:
                    bad.socket.sendall(start)
                    assert bad.ended() == b""
            wait_until(lambda: serving.telemetry["server"]["tls_failed_count"][0] == 2)


class TestEnds:
    @pytest.mark.parametrize("kind", LOOPS)
    def test_a_reset_by_the_loop_ends_the_client(self, folder, trusting, kind):
        with Serving(**tls_settings(folder, loop=kind)) as serving, serving.client(tls=trusting) as client:
            serving.server.close_clients(0)
            client.ended()

    @pytest.mark.parametrize("kind", LOOPS)
    def test_a_drain_closes_all_and_ends_though_some_stall(self, folder, trusting, kind):
        settings = tls_settings(folder, loop=kind, handshake_s=LONG_S)
        with Serving(**settings) as serving:
            good, stalled = serving.client(tls=trusting), Client(serving.port)
            serving.server.stop()
            assert good.closed()[0] == CloseCode.GOING_AWAY
            good.ended()
            assert stalled.ended() == b""
            good.socket.close()
            stalled.socket.close()

    @pytest.mark.parametrize("kind", LOOPS)
    def test_a_slow_reader_gets_a_large_picture_whole_and_delays_no_other(self, folder, trusting, kind):
        settings = tls_settings(folder, loop=kind, width=1024, height=512)
        with Serving(**settings) as serving, serving.client(tls=trusting) as good:
            serving.canvas["pixels"][:] = np.random.default_rng(5).integers(0, 256, serving.pixels.shape)
            slow = serving.client(tls=trusting, receive_bytes=4096)
            slow.send(Subscribe())
            for _ in range(50):
                good.ping()
            slow.until(Snapshot)
            assert np.array_equal(slow.pixels, serving.pixels)
            slow.socket.close()

    def test_a_client_that_takes_nothing_is_evicted(self, folder, trusting):
        settings = tls_settings(folder, width=2048, height=1024, stall_s=0.2)
        with Serving(**settings) as serving, serving.client(tls=trusting) as good:
            serving.canvas["pixels"][:] = np.random.default_rng(5).integers(0, 256, serving.pixels.shape)
            bad = serving.client(tls=trusting, receive_bytes=4096)
            bad.send(*[Subscribe()] * 4)  # At once: a client that is delayed between two may be evicted.
            good.serve_until(lambda: serving.counted("evicted_count") == 1)
            bad.socket.close()


class InMemory:
    """A stream and a client, joined by socket pairs; bytes move only when a test says so."""

    def __init__(self, folder, trusting):
        near, self.wire = socket.socketpair()
        near.setblocking(False)
        self.wire.setblocking(False)
        self.stream = TlsStream(near, load_context(*tls_settings(folder).values()), 0)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = trusting.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.loop = None

    def send(self, step=CHUNK_BYTES):
        """Bring what the client has to say over the wire, in steps."""
        data = self.outgoing.read()
        for start in range(0, len(data), step):
            self.wire.sendall(data[start : start + step])
            self.turn()

    def turn(self):
        if self.loop is None:
            self.loop = self.stream.shake_hands()
        else:
            self.stream.carry()

    def receive(self):
        """Take what the stream has sent so far."""
        try:
            while data := self.wire.recv(1 << 16):
                self.incoming.write(data)
        except BlockingIOError:
            return
        self.incoming.write_eof()

    def shake_hands(self, step=CHUNK_BYTES):
        while self.loop is None:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.send(step)
            self.receive()

    def close(self):
        self.stream.close()
        self.wire.close()
        if self.loop is not None:
            self.loop.close()


@pytest.fixture
def joined(folder, trusting):
    joined = InMemory(folder, trusting)
    yield joined
    joined.close()


class TestStream:
    @pytest.mark.parametrize("step", [1, 7, CHUNK_BYTES])
    def test_bytes_come_through_however_they_are_cut(self, joined, step):
        joined.shake_hands(step)
        joined.client.write(b"from the client")
        joined.send(step)
        assert joined.loop.recv(100) == b"from the client"
        joined.loop.sendall(b"from the loop")
        joined.turn()
        joined.receive()
        assert joined.client.read(100) == b"from the loop"

    def test_what_comes_with_the_end_of_the_handshake_is_not_left_lying(self, joined):
        with pytest.raises(ssl.SSLWantReadError):
            joined.client.do_handshake()
        joined.send()
        joined.receive()
        joined.client.do_handshake()
        joined.client.write(b"at once")
        joined.send()
        joined.turn()
        assert joined.loop.recv(100) == b"at once"

    def test_no_more_is_taken_from_the_loop_than_the_client_takes(self, joined):
        joined.shake_hands()
        joined.loop.setblocking(False)
        sent = 0
        with pytest.raises(BlockingIOError):
            for _ in range(1000):
                sent += joined.loop.send(bytes(CHUNK_BYTES))
                joined.turn()
                joined.turn()
        assert joined.stream.wants_inner() == (False, False) and joined.stream.wants_outer() == (True, True)
        got = 0
        while got < sent:
            joined.receive()
            joined.turn()
            try:
                while part := joined.client.read(CHUNK_BYTES):
                    got += len(part)
            except ssl.SSLWantReadError:
                continue
        assert joined.stream.wants_outer() == (True, False)

    def test_no_more_is_taken_from_the_client_than_the_loop_takes(self, joined):
        joined.shake_hands()
        for _ in range(1000):
            if not joined.stream.wants_outer()[0]:
                break
            joined.client.write(bytes(CHUNK_BYTES))
            joined.send()
        assert joined.stream.wants_outer() == (False, False) and joined.stream.wants_inner() == (True, True)
        with pytest.raises(BlockingIOError):
            while True:
                joined.wire.send(bytes(CHUNK_BYTES))
        joined.loop.recv(1 << 20)
        joined.stream.carry()
        assert joined.stream.wants_outer() == (True, False)

    @pytest.mark.parametrize("says_good_bye", [True, False])
    def test_the_clients_end_reaches_the_loop_behind_all_it_said(self, joined, says_good_bye):
        joined.shake_hands()
        joined.client.write(b"last")
        if says_good_bye:
            with pytest.raises(ssl.SSLWantReadError):
                joined.client.unwrap()
        joined.send()
        joined.wire.shutdown(socket.SHUT_WR)
        joined.turn()
        joined.turn()
        assert joined.loop.recv(100) == b"last" and joined.loop.recv(100) == b""
        joined.loop.sendall(b"answer")
        joined.turn()
        joined.loop.close()
        joined.turn()
        assert joined.stream.is_over
        joined.receive()
        assert joined.client.read(100) == b"answer"

    def test_the_loops_end_reaches_the_client_that_may_go_on_talking(self, joined):
        joined.shake_hands()
        joined.loop.sendall(b"last")
        joined.loop.shutdown(socket.SHUT_WR)
        joined.turn()
        joined.turn()
        joined.client.write(b"still here")
        joined.send()
        assert joined.loop.recv(100) == b"still here"
        joined.receive()
        assert joined.client.read(100) == b"last"
        assert joined.client.read(100) == b""  # A proper end, no cut stream.
        assert not joined.stream.is_over

    def test_a_forged_record_breaks_it(self, joined):
        joined.shake_hands()
        joined.wire.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(Broken):
            joined.turn()

    def test_a_client_that_leaves_early_breaks_it(self, joined):
        joined.wire.close()
        with pytest.raises(Broken, match="left in the middle"):
            joined.turn()

    def test_answers_of_tls_itself_are_bounded(self):
        assert ANSWERS_BYTES_MAX >= 2 * CHUNK_BYTES  # One chunk on its way must not stop the hearing.


class TestCertificates:
    @pytest.fixture
    def made(self, folder, tmp_path):
        """Files in all ways wrong, by name."""
        run = ["openssl", "pkey", "-in", str(folder / "key.pem"), "-aes128", "-passout", "pass:secret"]
        subprocess.run([*run, "-out", str(tmp_path / "locked.pem")], check=True, capture_output=True)
        (tmp_path / "text.pem").write_text("no certificate\n")
        (tmp_path / "cut.pem").write_bytes((folder / "cert.pem").read_bytes()[:200])
        files = {name: str(folder / f"{name}.pem") for name in ("cert", "key")} | {"other": str(folder / "ca.key")}
        return files | {name: str(tmp_path / f"{name}.pem") for name in ("locked", "text", "cut", "gone")}

    @pytest.mark.parametrize(
        ("cert", "key", "line"),
        [
            ("gone", "key", "cert .*gone.pem cannot be read: no such file.*; give"),
            ("cert", "gone", "key .*gone.pem cannot be read"),
            ("text", "key", "cert .*text.pem holds no begin certificate"),
            ("cert", "text", "key .*text.pem holds no private key"),
            ("cut", "key", "cert .*cut.pem and key .* cannot be used: .*; give"),
            ("cert", "other", "key .*ca.key does not belong to cert .*; give the two"),
            ("cert", "locked", "key .*locked.pem is encrypted.* writes it decrypted"),
        ],
    )
    def test_what_is_wrong_is_told_in_one_line(self, made, cert, key, line):
        with pytest.raises(CannotListen, match=line) as caught:
            load_context(made[cert], made[key])
        assert "\n" not in str(caught.value)

    def test_it_speaks_nothing_old(self, folder):
        assert load_context(*tls_settings(folder).values()).minimum_version == ssl.TLSVersion.TLSv1_2

    @pytest.mark.parametrize(("given", "missing"), [("cert", "key"), ("key", "cert")])
    def test_one_of_the_two_is_not_enough(self, given, missing):
        with pytest.raises(ValueError, match=f"{given} is 'x.pem', but {missing} is not set"):
            ServerConfig(**{given: "x.pem"})

    def test_connections_count_three_files_each(self, monkeypatch):
        monkeypatch.setattr(open_files, "connections_that_fit", lambda: 300)
        assert connections_allowed(ServerConfig()) == 300
        assert connections_allowed(ServerConfig(cert="a", key="b")) == 100
