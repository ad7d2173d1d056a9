"""The cases: what each offers, to which programs, and which figure it is about.

A case has steps, which are scenarios; every step is run with every program of the case. Sizes are the full ones or, for
a quick run, small ones that only show that it works.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workbench.bench.program import MAILBOX, OURS, PORTABLE, SINK

# A scenario as in TOML.
Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One scenario of a case."""

    label: str
    tree: Tree
    # The load as a share of the server's measured capacity; 0: as in the tree.
    of_capacity: float = 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """One benchmark."""

    name: str
    title: str
    # The figure whose spread and ratios are shown.
    primary: str
    # Keys of the other figures to show.
    columns: tuple[str, ...]
    steps: tuple[Step, ...]
    programs: tuple[str, ...] = (OURS, SINK)
    # Whether peers, which only count, can run it.
    with_peers: bool = False
    # Length of the measured steady state of a trial.
    seconds: float = 5.0
    # Without sockets, in this process, with a fixed number of batches instead of seconds.
    in_memory: bool = False
    # The server gets a small share of its core, so that it can be overloaded.
    slows_server: bool = False


_LOAD = ("received_per_s", "message_ns", "server_cpu_cores", "fleet_cpu_cores")
_VIEW = ("deltas_per_viewer_per_s", "broadcast_bytes_per_s", "placement_to_view_ms_p99")


def _tree(count: int, rate: float, frames: int, **fleet: Any) -> Tree:
    """A load on a canvas with one pixel per device, and a token bucket that is large enough for it."""
    across = 128 if count > 10_000 else 32
    server = {
        "width": across,
        "height": max(1, -(-count // across)),
        "tick_ms": 200,
        "rate_per_s": min(65535, max(60, int(rate))),
        "burst": min(65535, max(120, int(2 * rate))),
    }
    settings = {"connections": count, "rate_per_s": rate, "frames_per_write": frames, "viewers": "none"}
    return {"server": server, "fleet": {**settings, **fleet}}


def _headline(count: int) -> Case:
    step = Step("60/s each, 12 frames per write, all watch", _tree(count, 60.0, 12, viewers="all"))
    title = f"{count:,} connections at 60 messages/s, every one of them watching the whole canvas"
    return Case("headline", title, "messages_per_core_s", (*_LOAD, *_VIEW), (step,))


def _quiet(count: int) -> Case:
    steps = (
        Step("60/s each, 12 frames per write", _tree(count, 60.0, 12)),
        Step("12/s each, 6 frames per write", _tree(count, 12.0, 6)),
    )
    title = f"{count:,} connections that send, without viewers: the cost of a message"
    programs = (OURS, SINK, PORTABLE)
    return Case("quiet", title, "messages_per_core_s", _LOAD, steps, programs, with_peers=True)


def _seed(count: int) -> Case:
    steps = tuple(Step(f"{count * rate:,}/s, 10 frames per write", _tree(count, rate, 10)) for rate in (140, 1000))
    title = f"{count:,} busy connections: up to the limit of a design with one mailbox, and beyond"
    programs = (OURS, SINK, MAILBOX)
    return Case("seed", title, "messages_per_core_s", _LOAD, steps, programs, with_peers=True)


def _single_frame(count: int) -> Case:
    step = Step("200/s each, 1 frame per write", _tree(count, 200.0, 1))
    title = f"{count:,} connections that send each message by itself: the cost of a system call"
    return Case("single_frame", title, "messages_per_core_s", _LOAD, (step,), with_peers=True)


def _fanout(count: int) -> Case:
    shares = (count // 4, count)
    steps = tuple(Step(f"{viewers:,} watch", _tree(count, 6.0, 6, viewers=viewers)) for viewers in shares)
    title = f"{count:,} connections that send little: the cost of a broadcast by the number of viewers"
    columns = ("deltas_per_s", "server_cpu_cores", "fleet_cpu_cores", *_VIEW)
    return Case("fanout", title, "deltas_per_core_s", columns, steps, programs=(OURS,))


def _regions(count: int) -> Case:
    around = _tree(count, 60.0, 12, viewers="all", region="around")
    whole = 1024 if count > 10_000 else 256
    around["server"] |= {"width": whole, "height": whole}
    title = f"{count:,} connections at 60 messages/s on {whole} x {whole}, each watching the four tiles around it"
    step = Step("60/s each, 12 frames per write, regions", around)
    return Case("regions", title, "messages_per_core_s", (*_LOAD, *_VIEW), (step,))


def _connect_storm(count: int) -> Case:
    step = Step("all at once", _tree(count, 0.0, 1, connect_per_s=1_000_000))
    title = f"{count:,} connections with their handshakes, as fast as the server accepts them"
    columns = ("connect_seconds", "connects_per_core_s", "refused")
    return Case("connect_storm", title, "connects_per_s", columns, (step,), with_peers=True, seconds=0.0)


def _slow_consumers(count: int) -> Case:
    steps = (
        Step("all read", _tree(count, 60.0, 12, viewers="all")),
        Step("5 % never read", _tree(count, 60.0, 12, viewers="all", slow_ratio=0.05)),
    )
    title = f"{count:,} viewers, of which some never read: the effect on the others"
    columns = ("placement_to_view_ms_p50", "deltas_per_viewer_per_s", "server_cpu_cores", "server_resident_bytes")
    return Case("slow_consumers", title, "placement_to_view_ms_p99", columns, steps, programs=(OURS,))


def _overload(count: int) -> Case:
    tree = _tree(count, 20_000.0, 20)  # Far above the capacity, which is what is received then.
    tree["server"] |= {"rate_per_s": 65535, "burst": 65535}  # No bucket limits it: only overload sheds.
    steps = tuple(Step(f"{share:g} x capacity", tree, of_capacity=share) for share in (1.0, 2.0, 4.0))
    title = f"{count:,} connections that offer up to four times the server's capacity: goodput under overload"
    columns = ("offered_per_s", "server_cpu_cores", "fleet_cpu_cores", "tick_ms_p99", "server_resident_bytes")
    return Case("overload", title, "admitted_per_s", columns, steps, programs=(OURS,), slows_server=True)


def _engine(count: int) -> Case:
    step = Step("12 frames per batch", _tree(count, 65535.0, 12))
    title = f"{count:,} connections in memory, no sockets, one core: decode, admit, apply and tick alone"
    columns = ("decode_ns", "admit_ns", "apply_ns", "tick_ms")
    return Case("engine", title, "messages_per_core_s", columns, (step,), (OURS,), seconds=0.0, in_memory=True)


# By name: the case, its connections, and those of a quick run.
_CASES: dict[str, tuple[Callable[[int], Case], int, int]] = {
    "headline": (_headline, 17_000, 200),
    "quiet": (_quiet, 17_000, 200),
    "seed": (_seed, 500, 100),
    "single_frame": (_single_frame, 500, 100),
    "fanout": (_fanout, 17_000, 200),
    "regions": (_regions, 17_000, 200),
    "connect_storm": (_connect_storm, 17_000, 200),
    "slow_consumers": (_slow_consumers, 17_000, 200),
    "overload": (_overload, 500, 100),
    "engine": (_engine, 4096, 256),
}
QUICK_SECONDS = 1.0


def case_names() -> list[str]:
    """All cases, in the order in which they are run."""
    return list(_CASES)


def case_of(name: str, *, quick: bool) -> Case:
    """A case in its full or its quick size. Raises KeyError for an unknown name."""
    build, full, small = _CASES[name]
    return build(small if quick else full)
