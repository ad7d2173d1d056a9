"""A broker that the server starts: found on this machine, on a free port of loopback, ended with the server.

mosquitto is preferred, then nats-server, then amqtt, which is slow but can be installed with pip. It listens on
loopback only, and neither its process nor its folder remains.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from server.accept.listener import CannotListen
from server.mqtt.address import BrokerAddress
from server.system import clock

# Time for a broker to listen. amqtt loads for seconds on a busy machine.
START_S = 20.0
END_S = 3.0
LOOK_S = 0.01
SLOW_KIND = "amqtt"
"""A Python package, not a program."""
KINDS = ("mosquitto", "nats-server", SLOW_KIND)

_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 100000
max_inflight_messages 1000
log_type error
user root
"""
# The last line matters to root only: mosquitto would change its user, and a process that does so is not killed with
# its parent any more.
_NATS = """\
server_name: canvas
listen: "127.0.0.1:-1"
jetstream {{ store_dir: "{folder}" }}
mqtt {{ listen: "127.0.0.1:{port}" }}
"""


def kinds_installed() -> tuple[str, ...]:
    """Those of KINDS that are installed, in order."""
    return tuple(kind for kind in KINDS if _is_installed(kind))


def find_kind() -> str:
    """The first of KINDS that is installed; "" if none is."""
    return next(iter(kinds_installed()), "")


def _is_installed(kind: str) -> bool:
    if kind == SLOW_KIND:
        return importlib.util.find_spec(SLOW_KIND) is not None
    return find_program(kind) is not None


def find_program(name: str) -> str | None:
    """The path of a program, or None. Also looks in `sbin` folders, where Debian installs brokers."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    beside = [f"{folder.removesuffix('bin')}sbin" for folder in folders if folder.endswith("/bin")]
    return shutil.which(name, path=os.pathsep.join(folders + beside))


class Broker:
    """A running broker: of this kind, or the first of KINDS; on this port, or a free one. Raises CannotListen."""

    def __init__(self, kind: str = "", port: int = 0) -> None:
        self.kind = kind or find_kind()
        if not self.kind:
            remedy = "install mosquitto, or amqtt with pip install 'pixel-canvas-workbench[mqtt]', or name one by URL"
            raise CannotListen(f"no MQTT broker is found on this machine; {remedy}")
        self.address = BrokerAddress("127.0.0.1", port or _free_port())
        self._folder = tempfile.TemporaryDirectory(prefix="canvas-broker-")
        command = [sys.executable, "-m", "server.bridge.broker_process", str(os.getpid()), *self._command()]
        quiet = subprocess.DEVNULL
        # A session of its own keeps a terminal's Ctrl-C away: the broker must outlive our last publications.
        self._process = subprocess.Popen(
            command, stdin=quiet, stdout=quiet, stderr=quiet, cwd=_root(), start_new_session=True
        )
        try:
            self._await_listening()
        except CannotListen:
            self.close()
            raise

    @property
    def process_id(self) -> int:
        """Process ID of the broker."""
        return self._process.pid

    def pause(self) -> None:
        """Stop the broker's process, as a fault."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause`."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and delete its folder. May be called twice."""
        if self._process.poll() is None:
            self.resume()  # A stopped process does not receive SIGTERM.
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    def _command(self) -> list[str]:
        """The arguments of `broker_process`. Writes the configuration."""
        if self.kind == SLOW_KIND:
            return [SLOW_KIND, str(self.address.port)]
        path = Path(self._folder.name) / "broker.conf"
        text = _MOSQUITTO if self.kind == "mosquitto" else _NATS
        path.write_text(text.format(port=self.address.port, folder=path.with_name("store")), encoding="utf-8")
        return [find_program(self.kind) or self.kind, "-c", str(path)]

    def _await_listening(self) -> None:
        deadline_ns = clock.now_ns() + int(START_S * 1e9)
        while self._process.poll() is None and clock.now_ns() < deadline_ns:
            with socket.socket() as probe:
                if probe.connect_ex((self.address.host, self.address.port)) == 0:
                    return
            clock.wait_s(LOOK_S)
        code = self._process.poll()
        how = "does not listen" if code is None else f"ended with code {code}"
        raise CannotListen(f"the broker {self.kind} {how}; start one yourself, and name it by URL")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _root() -> Path:
    """The folder that `server` is imported from, which need not be the current one."""
    return Path(__file__).resolve().parents[2]
