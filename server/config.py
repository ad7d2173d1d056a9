"""The server's settings: frozen, with units in their names, and checked when they are made."""

import ipaddress
import re
from typing import Literal

import msgspec

from server.mqtt.address import parse_broker
from server.wire import CANVAS_SIDE_MAX, TILES_MAX, tile_shape

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#@]+/?", re.IGNORECASE)
# Characters that need no escape in a URL, in a header or in the name of a sub-protocol.
_TOKEN = re.compile(r"[A-Za-z0-9\-_.~]{8,128}")
BRAKE_ITEM_US_MAX, BRAKE_BATCH_MS_MAX = 500.0, 500.0
LIVE_SETTINGS = ("rate_per_s", "burst", "tick_ms", "tick_ms_max", "stall_s", "evict_after_s", "brakes")
"""Fields of `ServerConfig` that may change while a server runs. Servers, sessions and knobs go by this list alone."""


class Brake(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Service time added to one stage on purpose: watch the queue before it."""

    item_us: float = 0.0
    """Microseconds for each item. An item is what the stage counts: placements, or messages at decode."""
    batch_ms: float = 0.0
    """Milliseconds for each batch, however many items it holds."""

    def __post_init__(self) -> None:
        for name, most in (("item_us", BRAKE_ITEM_US_MAX), ("batch_ms", BRAKE_BATCH_MS_MAX)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ValueError(f"{name} is {value}; it must be 0 to {most:g}")

    @property
    def is_on(self) -> bool:
        """Whether it adds anything."""
        return self.item_us > 0 or self.batch_ms > 0


class Brakes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The brake of each stage of the server; all off unless said."""

    accept: Brake = Brake()
    read: Brake = Brake()
    decode: Brake = Brake()
    admit: Brake = Brake()
    apply: Brake = Brake()
    journal: Brake = Brake()
    encode: Brake = Brake()
    fan_out: Brake = Brake()

    def in_order(self) -> tuple[Brake, ...]:
        """By stage, in the order of `layout.Stage`."""
        return tuple(getattr(self, name) for name in self.__struct_fields__)


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One canvas server. Every field has a default that suits a laptop demo."""

    host: str = "127.0.0.1"
    """Address to listen on. Loopback keeps it private; 0.0.0.0 opens it to the network."""
    port: int = 0
    """0 takes any free port and says which."""
    width: int = 256
    """Pixels across, 1 to 8192."""
    height: int = 256
    """Pixels down, 1 to 8192."""
    rate_per_s: int = 60
    """Tokens per second of each connection's bucket. Low throttles early, high never."""
    burst: int = 120
    """Tokens a bucket can save up. Must cover what a device sends in one write."""
    tick_ms: int = 100
    """Tick interval as configured. Short shows changes sooner and sends more bytes; it stretches when too short."""
    tick_ms_max: int = 2000
    """The longest interval the tick may stretch to."""
    loop: Literal["native", "portable", "mailbox"] = "native"
    """What moves the bytes: compiled epoll, portable selectors, or a naive server with one task per connection."""
    counts_only: bool = False
    """Only count what comes in: the machine's limit, to compare the loops with."""
    loops: int = 1
    """Number of loops, one thread each. More than there are free cores only adds context switches."""
    connections_max: int = 20_000
    """Sockets held at once; the open-file limit bounds it too."""
    stall_s: float = 30.0
    """A connection that takes no bytes for this long is closed. Short drops slow networks, long keeps dead ones."""
    evict_after_s: float = 0.0
    """A connection over its limit for this long is closed with 1008. 0: never."""
    handshake_s: float = 5.0
    """An opening handshake unfinished after this is closed."""
    echo: bool = False
    """Serve /echo, for conformance suites."""
    deflate: Literal["on", "off"] = "on"
    """Grant permessage-deflate to clients that offer it, as browsers do. They then stay on the slow path."""
    deflate_connections_max: int = 256
    """At most this many at once, over all loops; others are served uncompressed. Each may hold 80 KiB for it."""
    origins: tuple[str, ...] = ()
    """Origins whose pages may connect, beside pages of this server itself."""
    cert: str = ""
    """File of a certificate (PEM, followed by its chain): then clients must speak TLS. "": no TLS."""
    key: str = ""
    """File of its key, without a password."""
    connections_per_address_max: int = 256
    """Connections held at once from one address; of IPv6, from one /64. 0: as many as there is room for."""
    handshakes_per_address_per_s: int = 50
    """Connections per second that one address may open, after twice as many at once. 0: no limit."""
    limits_loopback: bool = False
    """Apply these two limits to this machine's own clients too, which fleets are."""
    token: str = ""
    """Access token that clients need to view or paint. "": none is needed."""
    viewers_only_without_token: bool = False
    """Clients without the token may view but not paint. False: they get 401."""
    brakes: Brakes = Brakes()
    """Service time added to stages."""
    mqtt: str = "none"
    """The MQTT broker that devices may publish to: its URL, "embedded" to start one, or "none"."""
    mqtt_name: str = "main"
    """The canvas's name in the topics canvas/NAME/device/ID/place. Canvases that share a broker need different ones."""
    journal: str = ""
    """File that every tick's changes are committed to, and that the next start continues from. "": none."""
    journal_gates: bool = True
    """Nothing is sent before it is committed. False, as in a recording: ticks do not wait for it."""
    journal_sync: Literal["normal", "full"] = "normal"
    """What a commit survives: normal a crash of the server, full also a power loss."""
    journal_snapshot_ticks: int = 600
    """Ticks between two snapshots. Few make the file large, many make the next start slow."""
    journal_keep_s: float = 0.0
    """What is older is deleted, unless the newest snapshot needs it. 0: nothing is too old."""
    journal_bytes_max: int = 1 << 30
    """Above this size the oldest is deleted, likewise. 0: no limit."""

    def __post_init__(self) -> None:
        limits: tuple[tuple[str, float, float], ...] = (
            ("port", 0, 65535),
            ("width", 1, CANVAS_SIDE_MAX),
            ("height", 1, CANVAS_SIDE_MAX),
            ("rate_per_s", 1, 65535),
            ("burst", 1, 65535),
            ("tick_ms", 1, 60_000),
            ("tick_ms_max", 1, 60_000),
            ("loops", 1, 64),
            ("connections_max", 1, 1_000_000),
            ("deflate_connections_max", 0, 1_000_000),
            ("connections_per_address_max", 0, 1_000_000),
            ("handshakes_per_address_per_s", 0, 1_000_000),
            ("stall_s", 0.1, 86_400),
            ("evict_after_s", 0, 86_400),
            ("handshake_s", 0.1, 600),
            ("journal_snapshot_ticks", 1, 1_000_000),
            ("journal_keep_s", 0, 1e9),
            ("journal_bytes_max", 0, 1 << 50),
        )
        for name, least, most in limits:
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; it must be {least} to {most}")
        if self.token and not _TOKEN.fullmatch(self.token):
            raise ValueError(
                # Nor is a token repeated, which may be nearly right.
                f"token has {len(self.token)} characters, some of which may not be in it; "
                "give 8 to 128 of A-Z, a-z, 0-9, '-', '_', '.' and '~'"
            )
        if self.viewers_only_without_token and not self.token:
            raise ValueError("viewers_only_without_token is true, but token is not set; give a token, which paints")
        for origin in self.origins:
            if origin != "null" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"origins has {origin!r}, which no browser sends; "
                    "give scheme, host and port of the page and no more, like https://example.org"
                )
        if bool(self.cert) != bool(self.key):
            given, missing = ("cert", "key") if self.cert else ("key", "cert")
            raise ValueError(f"{given} is {self.cert or self.key!r}, but {missing} is not set; TLS needs both")
        self._check_mqtt()
        self._check_loop()
        across, down = tile_shape(self.width, self.height)
        if across * down > TILES_MAX:
            raise ValueError(
                f"width x height is {self.width} x {self.height}, which is {across * down} tiles; "
                f"at most {TILES_MAX} can be counted: take 32 pixels off one side"
            )

    @property
    def has_tls(self) -> bool:
        """Whether clients must speak TLS."""
        return bool(self.cert)

    def adjusted(self, wanted: "ServerConfig") -> "ServerConfig":
        """These settings, with those of `wanted` that may change while a server runs."""
        return msgspec.structs.replace(self, **{name: getattr(wanted, name) for name in LIVE_SETTINGS})

    @property
    def has_bridge(self) -> bool:
        """Whether it has a loop for devices that speak MQTT."""
        return self.mqtt != "none"

    @property
    def loop_rows(self) -> int:
        """Rows of the telemetry page that its loops need, a memory link aside."""
        return self.loops + self.has_bridge

    @property
    def lacked_by_mailbox(self) -> str:
        """Which of these settings, brakes and loops aside, a mailbox server cannot serve; "" when it can serve all."""
        if not _is_loopback(self.host):
            return f"host is {self.host!r}, but a mailbox server listens on this machine's loopback only"
        if self.limits_loopback:
            return "limits_loopback is true, but a mailbox server has no limits per address"
        return self._lacked_by("a mailbox server")

    def _lacked_by(self, kind: str) -> str:
        """What a server without an engine cannot serve."""
        if self.has_bridge:
            # Without its value: the URL may hold a password.
            return f"mqtt is set, but {kind} has no bridge"
        if self.journal and self.journal_gates:
            return f"journal is {self.journal!r}, but {kind} keeps none"
        return f"cert is {self.cert!r}, but {kind} speaks no TLS" if self.cert else ""

    def _check_loop(self) -> None:
        lacked = ""
        if self.loop == "mailbox":
            if self.loops > 1:
                raise ValueError(
                    f"loops is {self.loops}; mailbox is one loop: set loops to 1, or loop to native or portable"
                )
            braked = next((name for name in Brakes.__struct_fields__ if getattr(self.brakes, name).is_on), "")
            lacked = f"brakes.{braked} is set, but a mailbox server has no brakes" if braked else self.lacked_by_mailbox
        elif self.counts_only:
            lacked = self._lacked_by("one that only counts")
        if lacked:
            raise ValueError(f"{lacked}; leave it out, or set loop to native or portable")

    def _check_mqtt(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.mqtt_name):
            raise ValueError(f"mqtt_name is {self.mqtt_name!r}; it must be 1 to 64 letters, digits, - or _")
        if self.has_bridge and self.mqtt != "embedded":
            parse_broker(self.mqtt)


def is_live(setting: str) -> bool:
    """Whether a field of `ServerConfig` may change while a server runs."""
    return setting in LIVE_SETTINGS


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # It is a name.
        return host == "localhost"
