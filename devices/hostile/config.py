"""How many hostile clients run beside a fleet, and of which kinds; and the message that starts their process."""

import msgspec

# Each kind has enough of them to show its effect. For load there are fleets.
CONNECTIONS_MAX = 500
SECONDS_MAX = 3600.0
WEIGHT_MAX = 1000.0


class HostileConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hostile clients. Kinds share the connections by weight; a kind whose weight is 0 is off."""

    connections: int = 0
    """How many at once, 0 to 500. They reconnect when their connection has ended, and connect to this machine only."""
    seconds: float = 600.0
    """How long they run, 1 to 3600."""
    stall: float = 1.0
    """Subscribe, send half a frame, and then do nothing."""
    read_nothing: float = 1.0
    """Ask for the canvas again and again, and never read."""
    byte_at_a_time: float = 1.0
    """Send everything, the request included, one byte per write."""
    odd_fragments: float = 1.0
    """Cut each message into many fragments, some of them empty, with pings between them."""
    no_handshake: float = 1.0
    """Never finish the handshake request."""
    reset_mid_frame: float = 1.0
    """Reset the connection in the middle of a frame."""
    churn: float = 1.0
    """Connect, paint, close properly, and reconnect."""
    reconnect_together: float = 1.0
    """Reset and reconnect, all of them at the same moment, every five seconds."""
    wrong_lengths: float = 1.0
    """Send wrong lengths: of messages, of frames, of what is in them."""
    random_bytes: float = 1.0
    """Send random bytes, instead of a request or after it."""
    over_limit: float = 1.0
    """Send forty times the usual limit, half of it outside the canvas."""
    old_mask: float = 1.0
    """Mask every frame with the same key, where RFC 6455 asks for a new one."""

    def __post_init__(self) -> None:
        limits = [("connections", 0.0, float(CONNECTIONS_MAX)), ("seconds", 1.0, SECONDS_MAX)]
        limits += [(kind, 0.0, WEIGHT_MAX) for kind in KINDS]
        for name, least, most in limits:
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; it must be {least:g} to {most:g}")
        if self.connections and not any(getattr(self, kind) for kind in KINDS):
            raise ValueError(f"connections is {self.connections} and all weights are 0; give one kind a weight")


# The kinds of hostile clients by name, in the order of their counters.
KINDS: tuple[str, ...] = HostileConfig.__struct_fields__[2:]


def kinds_of_members(config: HostileConfig) -> list[int]:
    """The kind of each connection as an index into `KINDS`, ascending, in proportion to the weights."""
    weights = [getattr(config, kind) for kind in KINDS]
    total, count = sum(weights), config.connections
    ends = [sum(weights[: k + 1]) / total * count for k in range(len(KINDS))] if count else []
    # Half a member is added before comparing, so that rounding errors in `ends` never move a member to another kind.
    return [
        next(k for k, end in enumerate(ends) if end > member + 0.5 or k == len(ends) - 1) for member in range(count)
    ]


class StartHostile(msgspec.Struct, frozen=True, tag=True):
    """First line to the process of hostile clients. `page_fd`: a page of `hostile_sections`."""

    config: HostileConfig
    host: str
    port: int
    path: str
    seed: int
    page_fd: int
