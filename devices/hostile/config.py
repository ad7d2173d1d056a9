"""How many clients misbehave beside a fleet, and in which ways: frozen, each way with a weight."""

import msgspec

CONNECTIONS_MAX = 500
"""More than shows all there is to see; a crowd that only costs is what a fleet is for."""
SECONDS_MAX = 3600.0
WEIGHT_MAX = 1000.0


class HostileConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Clients that misbehave. A way whose weight is 0 is off; others share the connections by their weights."""

    connections: int = 0
    """So many at once, 0 to 500. They dial again when their connection has ended, but never a server elsewhere."""
    seconds: float = 600.0
    """After this they leave for good, 1 to 3600."""
    stall: float = 1.0
    """Watch, send half a frame, and then do nothing at all."""
    read_nothing: float = 1.0
    """Ask for the canvas again and again, and read none of it."""
    byte_at_a_time: float = 1.0
    """Send everything, the request too, one byte a write."""
    odd_fragments: float = 1.0
    """Cut each message into many fragments, some of them empty, with pings between them."""
    no_handshake: float = 1.0
    """Never finish the request that opens a connection."""
    reset_mid_frame: float = 1.0
    """Reset the connection in the middle of a frame."""
    churn: float = 1.0
    """Come, paint, close in order, and come again."""
    reconnect_together: float = 1.0
    """Reset and dial anew, all of them at the same moment, every five seconds."""
    wrong_lengths: float = 1.0
    """Lie about lengths: of messages, of frames, of what is in them."""
    random_bytes: float = 1.0
    """Send random bytes, in place of a request or after it."""
    over_limit: float = 1.0
    """Send forty times the usual limit, half of it beside the canvas."""
    old_mask: float = 1.0
    """Mask every frame with the same key."""

    def __post_init__(self) -> None:
        limits = [("connections", 0.0, float(CONNECTIONS_MAX)), ("seconds", 1.0, SECONDS_MAX)]
        limits += [(kind, 0.0, WEIGHT_MAX) for kind in KINDS]
        for name, least, most in limits:
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; it must be {least:g} to {most:g}")
        if self.connections and not any(getattr(self, kind) for kind in KINDS):
            raise ValueError(f"connections is {self.connections} and all weights are 0; give one kind a weight")


KINDS: tuple[str, ...] = HostileConfig.__struct_fields__[2:]
"""The ways to misbehave, by name, in the order of the counters."""


def kinds_of_members(config: HostileConfig) -> list[int]:
    """The kind of each connection, as an index into `KINDS`: shares by weight, in the order of the kinds."""
    weights = [getattr(config, kind) for kind in KINDS]
    total, count = sum(weights), config.connections
    ends = [sum(weights[: k + 1]) / total * count for k in range(len(KINDS))] if count else []
    return [
        next(k for k, end in enumerate(ends) if end > member + 0.5 or k == len(ends) - 1) for member in range(count)
    ]
