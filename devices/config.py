"""A fleet's settings, and the messages to its process. Invalid values are refused when they are read."""

from typing import Literal

import msgspec

from devices.hostile.config import HostileConfig
from server.ipc.control import CheckViewers, Follow, Stop, StopSending

Arrivals = Literal["periodic", "poisson", "bursty"]
PatternName = Literal["sensor_field", "image", "life", "hotspot", "noise"]
RegionName = Literal["whole", "around"]
Reconnect = Literal["never", "at_once", "backoff"]
Transport = Literal["websocket", "mqtt"]

# The bridge of a server has room for no more at once.
MQTT_DEVICES_MAX = 20_000
# Settings of a device's own connection, which it does not have behind a broker or over memory.
LINK_SETTINGS = ("region", "interval_ms", "slow_ratio", "churn_ratio", "reconnect", "viewer_brake_us")


class FleetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fleet of simulated devices, each with a WebSocket connection of its own, or all of them behind a broker."""

    connections: int = 1000
    """Number of devices. Bounded by the open-file limit of the fleet's process, except with `link = "memory"`."""
    rate_per_s: float = 20.0
    """Placements per second that each device offers. 0: devices that only watch."""
    frames_per_write: int = 1
    """Placements that a device collects before it writes. 1 sends each at once, with one system call each."""
    transport: Transport = "websocket"
    """How devices reach the server. mqtt: each publishes under its own id through a broker, one publication per write;
    a few connections to it carry all devices, and as many of them as `viewers` says watch. Where `server.mqtt` names
    no broker, the run starts one."""
    arrivals: Arrivals = "periodic"
    """Distribution of the scheduled send times."""
    pattern: PatternName = "sensor_field"
    """What the devices paint."""
    viewers: int | Literal["all", "none"] = "all"
    """How many devices watch the canvas."""
    region: RegionName = "whole"
    """What they watch: the whole canvas, or the four tiles around the device's pixel, near which it then paints."""
    interval_ms: int = 0
    """The interval at which they ask for deltas. 0: every tick."""
    slow_ratio: float = 0.0
    """Share of the viewers, 0 to 1, that never read from their connection. They paint like the others."""
    greedy_ratio: float = 0.0
    """Share of devices, 0 to 1, that send `greedy_factor` times the rate."""
    greedy_factor: float = 5.0
    """Rate of a greedy device, as a multiple of `rate_per_s`."""
    connect_per_s: int = 4000
    """Connections opened per second while the fleet starts or grows."""
    churn_ratio: float = 0.0
    """Share of devices, 0 to 1, that come and go: each stays connected for `churn_s` and then reconnects."""
    churn_s: float = 10.0
    """Mean time that a churning device stays connected; drawn from an exponential distribution."""
    reconnect: Reconnect = "backoff"
    """What a device does when its connection was cut or lost: never reconnect, reconnect at once, or after a pause that
    doubles from 0.5 s to 8 s, each drawn between half and the whole of it."""
    burst_ratio: float = 4.0
    """Bursty arrivals: rate of a device during a burst, as a multiple of its mean rate."""
    viewer_brake_us: float = 0.0
    """Microseconds of work added to each delta that a viewer receives, 0 to 500: simulates slow viewers."""
    hostile: HostileConfig = HostileConfig()
    """Hostile clients, beside the devices and in a process of their own."""

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
        for name in LINK_SETTINGS:
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
    """Command: apply these settings now. All of them are live; connections open and close at `connect_per_s`.

    `rate_factor` multiplies every device's rate: the load curve's present value.
    """

    config: FleetConfig
    rate_factor: float = 1.0


class Stall(msgspec.Struct, frozen=True, tag=True):
    """Command, a fault: this share of the open devices, 0 to 1, neither reads nor sends for this long."""

    share: float
    seconds: float


class Cut(msgspec.Struct, frozen=True, tag=True):
    """Command, a fault: the connections of this share of the open devices, 0 to 1, are reset."""

    share: float


class Brush(msgspec.Struct, frozen=True, tag=True):
    """Command: clear `brushed_latency`, and count the latency of placements in these tiles, half open, there too.

    All four 0: of no tile.
    """

    tile_x0: int
    tile_y0: int
    tile_x1: int
    tile_y1: int


FleetCommand = Stop | StopSending | CheckViewers | Follow | AdjustFleet | Stall | Cut | Brush


class StartFleet(msgspec.Struct, frozen=True, tag=True):
    """First line to a fleet process.

    `canvas_fd` is -1 when the server's canvas page cannot be shared. With a `link_fd`, the fleet shares memory with the
    server and opens no sockets.
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
    """URL of the broker where devices speak MQTT, with the login."""
    mqtt_name: str = ""
    """Name of the canvas in its topics."""
    certificate: str = ""
    """File of the server's certificate where it speaks TLS: devices behind a broker ask it for its canvas."""
