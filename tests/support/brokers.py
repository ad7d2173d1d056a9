"""Brokers for tests: those that the machine has, and a mosquitto with TLS, whose CA and logins are the test's own.

Tests reach all of this by the fixtures `needs_broker` and `certificates`: by these it is known who needs a program.
"""

import importlib.util
import socket
import subprocess
from contextlib import contextmanager

from conftest import give_up, is_ci
from server.bridge.broker import find_kind, find_program
from server.mqtt.address import BrokerAddress
from server.system import clock
from support.serving import PATIENCE_S

USER, PASSWORD = "sensor", "s3cret pass"
_CONFIG = """\
listener {port} 127.0.0.1
cafile {folder}/ca.pem
certfile {folder}/cert.pem
keyfile {folder}/key.pem
allow_anonymous false
password_file {folder}/passwords
user root
"""


def require(kind=""):
    """Skip, or fail where everything is to be there, without this kind of broker, "" for any. Returns the kind."""
    if not kind and not find_kind():
        give_up("an MQTT broker", "apt-get install mosquitto", in_ci=is_ci())
    if kind == "amqtt" and not importlib.util.find_spec("amqtt"):
        give_up("package amqtt", "pip install -e '.[dev]'", in_ci=is_ci())
    if kind and kind != "amqtt" and not find_program(kind):
        give_up(kind, f"apt-get install {kind}", in_ci=is_ci())
    return kind or find_kind()


def make_certificates(folder):
    """A CA, `ca.pem`, and a certificate that it signed for localhost alone, `cert.pem`, with its `key.pem`."""
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    signing = ["-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "cert.pem"]
    key = ["-newkey", "rsa:2048", "-nodes"]
    for line in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=CA of a test"],
        ["req", *key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost"],
        ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", *signing],
    ):
        subprocess.run(["openssl", *line], cwd=folder, check=True, capture_output=True)


@contextmanager
def guarded_broker(folder):
    """The port of a mosquitto that speaks TLS and wants a login; its certificates are in `folder`."""
    passwords = folder / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), USER, PASSWORD], check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "broker.conf").write_text(_CONFIG.format(port=port, folder=folder))
    program = find_program("mosquitto")
    with subprocess.Popen([program, "-c", str(folder / "broker.conf")], stderr=subprocess.DEVNULL) as process:
        try:
            await_listening(BrokerAddress("127.0.0.1", port))
            yield port
        finally:
            process.terminate()


def await_listening(address):
    """Return as soon as a broker listens there."""
    deadline_ns = clock.now_ns() + PATIENCE_S * 10**9
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((address.host, address.port)) == 0:
                return
        assert clock.now_ns() < deadline_ns, f"nothing listens at {address.shown}"
        clock.wait_s(0.01)
