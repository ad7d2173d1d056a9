"""The case without sockets: frames in memory through decode, admit, apply and tick, on one core.

It calls the stages as a loop does, on one arena that is served repeatedly, without the system calls. The number of
batches is fixed, and so are their frames, so every trial ends with the same canvas.
"""

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from server.config import ServerConfig
from server.engine.engine import Engine
from server.ipc.page import Page, canvas_sections, telemetry_sections
from server.kernels import epoll_loop
from server.kernels.arrays import LoopArrays
from server.kernels.kernel import compile_all
from server.kernels.layout import SEGMENT, Phase, Stage
from server.loops.native import native_kernels
from server.system import clock
from server.wire import BINARY_FRAME, MASK, PLACE, PLACE_FRAME_BYTES, ClientOp
from workbench.bench.trial import Figures, Outcome, Work
from workbench.telemetry.counters import NANOSECONDS


class _Stopped(Exception):
    """A stop was asked for before there were figures."""


def run_engine(
    config: ServerConfig, connections: int, frames: int, batches: int, seed: int, is_stopped: Callable[[], bool]
) -> Outcome | None:
    """Serve `batches` arenas of `connections` x `frames` placements in the caller's thread.

    None when stopped before the end: `is_stopped` is called between kernels that are compiled, and between batches.
    """
    try:
        return _measure(config, connections, frames, batches, seed, is_stopped)
    except _Stopped:
        return None


def _measure(
    config: ServerConfig, connections: int, frames: int, batches: int, seed: int, is_stopped: Callable[[], bool]
) -> Outcome:
    def check_stopped(done: int = 0, total: int = 0, name: str = "") -> None:
        if is_stopped():
            raise _Stopped

    telemetry = Page.create(telemetry_sections(1))
    canvas_page = Page.create(canvas_sections(config.width, config.height))
    engine = Engine(config, telemetry, canvas_page)
    loop = engine.new_loop(connections, 1)
    compile_all(native_kernels(loop, engine.canvas.arrays, engine.broadcast), check_stopped)
    segments = _fill(loop, _frames(config, connections * frames, seed), connections)
    engine.start(clock.now_ns())
    _serve(engine, loop, segments)  # Touches all memory once, so that page faults are not measured.
    before, begun_ns = loop.stages["busy_ns"].copy(), clock.thread_cpu_ns()
    tick_cpu_ns, tick_count = 0, 0
    for _ in range(batches):
        check_stopped()
        _serve(engine, loop, segments)
        # Ticks run at their real rate, so their share of the time is that of a server.
        if clock.now_ns() >= engine.next_tick_ns:
            tick_cpu_ns += _tick(engine)
            tick_count += 1
    tick_cpu_ns += _tick(engine)
    spent_ns, busy_ns = clock.thread_cpu_ns() - begun_ns, loop.stages["busy_ns"] - before
    served = batches * connections * frames
    figures: Figures = {
        "messages_per_core_s": served * NANOSECONDS / spent_ns,
        "decode_ns": int(busy_ns[Stage.DECODE]) / served,
        "admit_ns": int(busy_ns[Stage.ADMIT]) / served,
        "apply_ns": int(busy_ns[Stage.APPLY]) / served,
        "tick_ms": tick_cpu_ns / (tick_count + 1) / 1e6,
    }
    return Outcome(figures, _work(loop, canvas_page, served + connections * frames))


def _frames(config: ServerConfig, count: int, seed: int) -> NDArray[np.uint8]:
    """Masked PLACE frames with random pixels and colours, shape (count, 12)."""
    random = np.random.default_rng(seed)
    frames = np.empty((count, PLACE_FRAME_BYTES), np.uint8)
    frames[:, 0], frames[:, 1] = BINARY_FRAME, MASK | PLACE.size
    frames[:, 2:6] = random.integers(0, 256, (count, 4))
    frames[:, 6] = ClientOp.PLACE
    frames[:, 7] = random.integers(0, 256, count)
    frames[:, 8:10] = random.integers(0, config.width, count).astype("<u2").view(np.uint8).reshape(count, 2)
    frames[:, 10:12] = random.integers(0, config.height, count).astype("<u2").view(np.uint8).reshape(count, 2)
    # The mask key repeats after four bytes: op, colour and x take all of it, y its first half.
    frames[:, 6:10] ^= frames[:, 2:6]
    frames[:, 10:12] ^= frames[:, 2:4]
    return frames


def _fill(loop: LoopArrays, frames: NDArray[np.uint8], connections: int) -> NDArray[np.void]:
    """Put the frames into the arena, open the connections, and return their segments, one per connection."""
    data = frames.reshape(-1)
    assert len(data) <= len(loop.arena) and connections <= len(loop.segments), "a batch is one arena"
    loop.arena[: len(data)] = data
    loop.connections["phase"] = Phase.FAST
    segments = np.zeros(connections, SEGMENT)
    share = len(data) // connections
    segments["slot"] = np.arange(connections)
    segments["start"] = segments["slot"] * share
    segments["end"] = segments["start"] + share
    return segments


def _serve(engine: Engine, loop: LoopArrays, segments: NDArray[np.void]) -> None:
    """One arena through the stages, as a loop does after reading."""
    queues = loop.queues[0]
    loop.segments[: len(segments)] = segments
    queues["segment_end"] = len(segments)
    while queues["segment_end"] or queues["message_end"] or queues["placement_end"]:
        epoll_loop.run_stages(loop, engine.canvas.arrays, -1)


def _tick(engine: Engine) -> int:
    """Finish a tick. Returns its processor time in nanoseconds."""
    begun_ns, now_ns = clock.thread_cpu_ns(), clock.now_ns()
    engine.tick(now_ns)
    engine.publish(now_ns, clock.now_ns() - now_ns)
    return clock.thread_cpu_ns() - begun_ns


def _work(loop: LoopArrays, canvas: Page, sent: int) -> Work:
    counts = loop.counts[0]
    received, admitted, applied = (int(counts[f"{name}_count"]) for name in ("received", "admitted", "applied"))
    faults = () if sent == received == admitted == applied else (f"{sent - applied:,} of {sent:,} were not applied",)
    return Work(sent, received, admitted, f"{zlib.crc32(canvas['pixels'].tobytes()):08x}", faults)
