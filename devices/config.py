"""A fleet's settings: frozen, with units in their names; nonsense is refused where it is written."""

from typing import Literal

import msgspec

from devices.hostile.config import HostileConfig
from server.ipc.control import CheckViewers, Follow, Stop, StopSending

Arrivals = Literal["periodic", "poisson", "bursty"]
PatternName = Literal["sensor_field", "image", "life", "hotspot", "noise"]
RegionName = Literal["whole", "around"]
Reconnect = Literal["never", "at_once", "backoff"]
Transport = Literal["websocket", "mqtt"]

MQTT_DEVICES_MAX = 20_000
"""The bridge of a server knows no more at once."""
_ABOUT_LINKS = ("region", "interval_ms", "slow_ratio", "churn_ratio", "reconnect", "viewer_brake_us")
"""Settings of a device's own connection, which it has none of behind a broker."""


class FleetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fleet of simulated devices, each with a WebSocket connection of its own, or all of them behind a broker."""

    connections: int = 1000
    """Devices. Bounded by the open-file limit of the fleet's process, unless it is linked in memory."""
    rate_per_s: float = 20.0
    """Placements a second that each device intends. 0: devices that only watch."""
    frames_per_write: int = 1
    """Placements that a device saves up before it writes. 1 shows each at once and costs a system call each."""
    transport: Transport = "websocket"
    """How devices reach the server. mqtt: each publishes under its own id through a broker, a write a publication; a
    few connections to it carry all, and those watch that are among the `viewers`. Where `server.mqtt` names no
    broker, the run starts one."""
    arrivals: Arrivals = "periodic"
    """How intended send times are drawn."""
    pattern: PatternName = "sensor_field"
    """What the devices paint."""
    viewers: int | Literal["all", "none"] = "all"
    """How many of the devices watch."""
    region: RegionName = "whole"
    """What they watch: the whole canvas, or the four tiles around the device's pixel, near which it then paints."""
    interval_ms: int = 0
    """How often they ask to be sent deltas: no more often than this. 0: each tick."""
    slow_ratio: float = 0.0
    """Share of the viewers, 0 to 1, that never read from their connection. They paint as others do."""
    greedy_ratio: float = 0.0
    """Share of devices, 0 to 1, that send `greedy_factor` times the rate."""
    greedy_factor: float = 5.0
    """How many times its rate a greedy device sends."""
    connect_per_s: int = 4000
    """Connections opened a second while the fleet comes up or grows."""
    churn_ratio: float = 0.0
    """Share of devices, 0 to 1, that come and go: each stays connected for `churn_s` and then dials anew."""
    churn_s: float = 10.0
    """Mean time that a churning device stays connected; drawn from an exponential distribution."""
    reconnect: Reconnect = "backoff"
    """What a device does whose connection was cut or lost: never dial again, dial at once, or after a pause that
    doubles from 0.5 s to 8 s, each drawn between half and the whole of it."""
    burst_ratio: float = 4.0
    """Bursty arrivals: how many times its mean rate a device sends while it sends."""
    viewer_brake_us: float = 0.0
    """Microseconds that every viewer adds to each delta it receives, 0 to 500: slow viewers, for teaching."""
    hostile: HostileConfig = HostileConfig()
    """Clients that misbehave, beside the devices and in a process of their own."""

    def __post_init__(self) -> None:
        limits: tuple[tuple[str, float, float], ...] = (
            ("connections", 0, 1_000_000),
            ("rate_per_s", 0, 1_000_000),
            ("frames_per_write", 1, 64),
            ("interval_ms", 0, 1000),
            ("slow_ratio", 0, 1),
            ("greedy_ratio", 0, 1),
            ("greedy_factor", 1, 1000),
            ("connect_per_s", 1, 1_000_000),
            ("churn_ratio", 0, 1),
            ("churn_s", 0.5, 86_400),
            ("burst_ratio", 1, 1000),
            ("viewer_brake_us", 0, 500),
        )
        for name, least, most in limits:
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; it must be {least} to {most}")
        if self.transport == "mqtt":
            self._check_mqtt()
        if isinstance(self.viewers, int) and not 0 <= self.viewers <= self.connections:
            raise ValueError(
                f"viewers is {self.viewers}; it must be all, none or 0 to connections ({self.connections})"
            )

    def _check_mqtt(self) -> None:
        plain = FleetConfig()
        for name in _ABOUT_LINKS:
            value = getattr(self, name)
            if value != getattr(plain, name):
                raise ValueError(
                    f"{name} is {value} and transport is mqtt: behind a broker devices have no connections of their "
                    f"own; leave {name} out, or set transport to websocket"
                )
        if self.connections > MQTT_DEVICES_MAX:
            raise ValueError(
                f"connections is {self.connections} and transport is mqtt; it must be 0 to {MQTT_DEVICES_MAX} then"
            )

    @property
    def viewer_count(self) -> int:
        """Devices that watch."""
        if isinstance(self.viewers, int):
            return self.viewers
        return self.connections if self.viewers == "all" else 0

    @property
    def reading_count(self) -> int:
        """Devices that watch and read what they are sent."""
        return self.viewer_count - round(self.slow_ratio * self.viewer_count)


class AdjustFleet(msgspec.Struct, frozen=True, tag=True):
    """Command: be this fleet from now on. Every setting is live; connections come and go at `connect_per_s`.

    `rate_factor` multiplies every device's rate: the load curve's present value.
    """

    config: FleetConfig
    rate_factor: float = 1.0


class Stall(msgspec.Struct, frozen=True, tag=True):
    """Command, a fault: this share of the open devices, 0 to 1, neither reads nor sends for so long."""

    share: float
    seconds: float


class Cut(msgspec.Struct, frozen=True, tag=True):
    """Command, a fault: the links of this share of the open devices, 0 to 1, are reset at once."""

    share: float


class Brush(msgspec.Struct, frozen=True, tag=True):
    """Command: count the latency of what is placed in these tiles, half open, into `brushed_latency` too.

    All four 0: of no tile. The histogram begins anew.
    """

    tile_x0: int
    tile_y0: int
    tile_x1: int
    tile_y1: int


FleetCommand = Stop | StopSending | CheckViewers | Follow | AdjustFleet | Stall | Cut | Brush


class StartFleet(msgspec.Struct, frozen=True, tag=True):
    """First line to a fleet process.

    `canvas_fd` is -1 when the server's canvas page is out of reach. With a `link_fd`, the fleet is linked with the
    server in memory, and dials nobody.
    """

    config: FleetConfig
    host: str
    port: int
    path: str
    seed: int
    telemetry_fd: int
    canvas_fd: int
    width: int
    height: int
    link_fd: int = -1
    broker: str = ""
    """URL of the broker, where devices speak MQTT; the login is in it."""
    mqtt_name: str = ""
    """The canvas's name in its topics."""
    certificate: str = ""
    """The file of what the server shows, where it speaks TLS: devices behind a broker ask it for its canvas."""
